/* Reads what is needed to call an agent's control listener. */
#include "link.h"
#include "record.h"
#include "sql_core.h"

#include <stdio.h>
#include <string.h>

enum { ID, URL, FINGERPRINT, TRUST_FIRST_USE, ENROLLED, STATUS, ETAG, PROBE, LAPSED,
       AUTHORITY, AUTHORITY_FINGERPRINT, AUTHORITY_PEM, CAS, READ_AT, LIVE_DUE, RECOVERS };

bool
link_agent(struct work *w, const char *agent_id, struct agent_row *ret,
    struct error *err)
{
    PGresult                     *row = DB_EXEC(w->core.db, err, SQL_AGENT_LINK, agent_id);
    const struct fleet_identity  *me;

    if (row == NULL) {
        return false;
    }

    if (PQntuples(row) == 0) {
        PQclear(row);
        return error_not_found(err, "agent", agent_id);
    }

    if (strcmp(PQgetvalue(row, 0, STATUS), "Retired") == 0) {
        PQclear(row);
        return error_set(err, ERR_INVALID, "agent %s is retired", agent_id);
    }

    me = fleet_identity(&w->core, w->fleet, PQgetvalue(row, 0, CAS),
                        PQgetvalue(row, 0, AUTHORITY), err);
    if (me == NULL) {
        PQclear(row);
        return false;
    }

    *ret = (struct agent_row) {
        .row = row,
        .enrolled = strcmp(PQgetvalue(row, 0, ENROLLED), "t") == 0,
        .lapsed = strcmp(PQgetvalue(row, 0, LAPSED), "t") == 0
                  ? PQgetvalue(row, 0, FINGERPRINT) : NULL,
        .etag = PQgetvalue(row, 0, ETAG),
        .probe_address = PQgetvalue(row, 0, PROBE),
        .read_at = PQgetvalue(row, 0, READ_AT),
        .recovers = strcmp(PQgetvalue(row, 0, RECOVERS), "t") == 0,
        .live_due = strcmp(PQgetvalue(row, 0, LIVE_DUE), "t") == 0,
        .authority = { PQgetvalue(row, 0, AUTHORITY),
                       PQgetvalue(row, 0, AUTHORITY_FINGERPRINT),
                       PQgetvalue(row, 0, AUTHORITY_PEM) },
        .cas = PQgetvalue(row, 0, CAS),
        .link = {
            .http = w->http,
            .agent_id = PQgetvalue(row, 0, ID),
            .url = PQgetvalue(row, 0, URL),
            .ca_pem = w->fleet->ca_pem,
            .cert_pem = me->cert_pem,
            .key_pem = me->key_pem,
            .trust_any = strcmp(PQgetvalue(row, 0, TRUST_FIRST_USE), "t") == 0,
        },
    };

    /* The pin is for the first contact only: from then on the fleet CA speaks. */
    if (!ret->enrolled && !PQgetisnull(row, 0, FINGERPRINT)) {
        ret->link.pin = PQgetvalue(row, 0, FINGERPRINT);
    }

    return true;
}

void
link_place(const char *text, const char *id, const char *common_name, char *out,
    size_t size)
{
    const struct { const char *name, *value; } holes[] = {
        { "{id}", id }, { "{common_name}", common_name }, { "", NULL }
    };
    size_t  n = 0, len;
    int     i;

    while (*text && n + 1 < size) {
        for (i = 0; strncmp(text, holes[i].name, strlen(holes[i].name)) != 0; i++) { }

        if (holes[i].value == NULL) {
            out[n++] = *text++;
            continue;
        }

        len = strnlen(holes[i].value, size - n - 1);
        memcpy(out + n, holes[i].value, len);
        n += len;
        text += strlen(holes[i].name);
    }

    out[n] = '\0';
}

bool
link_record(const json_t *config, const char *id, const char *common_name,
    char *out, size_t size, struct error *err)
{
    const char  *record = json_string_value(json_object_get(config, "record"));

    link_place(record && *record ? record : "{common_name}", id, common_name, out, size);

    return certctl_record_usable(out, strlen(out))
           || error_set(err, ERR_INVALID, "\"%.100s\" cannot be the record of a certificate: "
                        "a name has letters, digits, \".\", \"_\", \"-\" and \"*\", and does not "
                        "begin with \"_\": set record in the target's config", out);
}
