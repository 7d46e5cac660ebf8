/* Reads what is needed to call an agent's control listener. */
#include "link.h"

#include <stdio.h>
#include <string.h>

enum { ID, URL, FINGERPRINT, TRUST_ANY, ENROLLED, STATUS, ETAG, PROBE };

bool
link_agent(struct work *w, const char *agent_id, struct agent_row *ret,
    struct error *err)
{
    PGresult  *row = DB_EXEC(w->core.db, err, SQL_AGENT_LINK, agent_id);

    if (row == NULL) {
        return false;
    }

    if (PQntuples(row) == 0) {
        PQclear(row);
        return error_set(err, ERR_NOT_FOUND, "there is no agent %s", agent_id);
    }

    if (strcmp(PQgetvalue(row, 0, STATUS), "Retired") == 0) {
        PQclear(row);
        return error_set(err, ERR_INVALID, "agent %s is retired", agent_id);
    }

    *ret = (struct agent_row) {
        .row = row,
        .enrolled = strcmp(PQgetvalue(row, 0, ENROLLED), "t") == 0,
        .etag = PQgetvalue(row, 0, ETAG),
        .probe_address = PQgetvalue(row, 0, PROBE),
        .link = {
            .http = w->http,
            .agent_id = PQgetvalue(row, 0, ID),
            .url = PQgetvalue(row, 0, URL),
            .ca_pem = w->fleet->ca_pem,
            .cert_pem = w->fleet->cert_pem,
            .key_pem = w->fleet->key_pem,
            .trust_any = strcmp(PQgetvalue(row, 0, TRUST_ANY), "t") == 0,
        },
    };

    /* The pin is for the first contact only: from then on the fleet CA speaks. */
    if (!ret->enrolled && !PQgetisnull(row, 0, FINGERPRINT)) {
        ret->link.pin = PQgetvalue(row, 0, FINGERPRINT);
    }

    return true;
}

void
link_record(const json_t *config, const char *fallback, char *out, size_t size)
{
    const char  *record = json_string_value(json_object_get(config, "record"));

    snprintf(out, size, "%s", record && *record ? record : fallback);
}
