/* Reads what a module serves and keeps the observed certificates in step. */
#include "work.h"

#include "link.h"
#include "x509_chain.h"
#include "x509_info.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

static bool
add_san(const char *kind, const char *text, void *data)
{
    (void) kind;

    return json_array_append_new(data, json_string(text)) == 0;
}

/*
 * The host is believed about where it serves, but what a certificate says is
 * read from the certificate.
 */
static bool
entry_read_leaf(json_t *row, X509 *leaf, const char *pem)
{
    struct certctl_x509_info  info;
    char                      cn[256], subject[1024], issuer[1024], url[512];
    json_t                   *sans = json_array();

    if (sans == NULL || json_object_set_new(row, "sans", sans) != 0
        || certctl_x509_info(leaf, &info) != NULL
        || !certctl_x509_subject(leaf, subject, sizeof(subject))
        || !certctl_x509_issuer(leaf, issuer, sizeof(issuer)))
    {
        return false;
    }

    certctl_x509_common_name(leaf, cn, sizeof(cn));
    certctl_x509_ocsp_url(leaf, url, sizeof(url));
    certctl_x509_each_san(leaf, add_san, sans);

    if (*cn == '\0' && json_array_size(sans)) {
        snprintf(cn, sizeof(cn), "%s", json_string_value(json_array_get(sans, 0)));
    }

    return json_object_update_new(row, json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:i, s:b, s:b, s:s, s:s}",
        "fingerprint", info.fingerprint, "common_name", cn, "serial", info.serial,
        "issuer", issuer, "subject", subject,
        "not_before", (json_int_t) info.not_before, "not_after", (json_int_t) info.not_after,
        "key_algorithm", info.key_type, "key_size", info.key_bits,
        "is_ca", info.is_ca, "must_staple", info.must_staple,
        "ocsp_url", url, "pem", pem)) == 0;
}

/* The place is the server block: file, line and first name survive a restart. */
static bool
entry_read_place(json_t *row, const json_t *entry)
{
    const json_t  *server = json_object_get(entry, "server");
    const json_t  *staple = json_object_get(entry, "staple");
    json_t        *names = json_object_get(server, "names");
    json_t        *listen = json_object_get(server, "listen");
    const char    *file = json_string_value(json_object_get(server, "file"));
    const char    *first = json_string_value(json_array_get(names, 0));
    const char    *kind = json_string_value(json_object_get(entry, "key_type"));
    const char    *state = json_string_value(json_object_get(staple, "state"));
    const char    *source = json_string_value(json_object_get(entry, "source"));
    char           place[1024];

    snprintf(place, sizeof(place), "%s:%d %s %s", file ? file : "store",
             (int) json_integer_value(json_object_get(server, "line")),
             first ? first : "", kind ? kind : "");

    return json_object_update_new(row, json_pack(
        "{s:s, s:s, s:O?, s:O?, s:O?, s:b, s:s, s:O?}",
        "place", place, "source", source ? source : "",
        "server_names", names, "listen", listen,
        "record", json_object_get(entry, "name"),
        "has_private_key", json_is_true(json_object_get(entry, "has_private_key")),
        "staple", state ? state : "",
        "staple_next_update", json_object_get(staple, "next_update_seconds"))) == 0;
}

static json_t *
entry_row(const json_t *entry)
{
    const char       *pem = json_string_value(json_object_get(entry, "pem"));
    const char       *why;
    STACK_OF(X509)   *chain = pem ? certctl_chain_from_pem(pem, strlen(pem), &why) : NULL;
    json_t           *row = json_object();

    if (chain == NULL || row == NULL
        || !entry_read_leaf(row, sk_X509_value(chain, 0), pem)
        || !entry_read_place(row, entry))
    {
        json_decref(row);
        row = NULL;
    }

    sk_X509_pop_free(chain, X509_free);

    return row;
}

static bool
inventory_rows(const json_t *report, json_t *rows, struct error *err)
{
    json_t  *entry, *row;
    size_t   i;

    if (!json_is_array(json_object_get(report, "certificates"))) {
        return error_set(err, ERR_PEER, "the report has no list of certificates");
    }

    json_array_foreach(json_object_get(report, "certificates"), i, entry) {

        /* The listener's own identity is the agent's, renewed by Enrolment. */
        if (json_is_true(json_object_get(json_object_get(entry, "server"), "agent"))) {
            continue;
        }

        row = entry_row(entry);
        if (row == NULL) {
            return error_set(err, ERR_PEER, "entry %zu of the report cannot be read", i);
        }
        json_array_append_new(rows, row);
    }

    return true;
}

static bool
inventory_store(struct work *w, const json_t *rows, const char *status,
    const char *etag, double ms, struct error *err)
{
    CLEANUP(mem) char         *text = json_dumps(rows, JSON_COMPACT);
    CLEANUP(db_tx) struct db  *tx = NULL;
    char                       took[16];

    if (text == NULL) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    snprintf(took, sizeof(took), "%d", (int) ms);

    return work_begin(w, &tx, err)
           && DB_RUN(tx, err, SQL_INVENTORY_STORE, w->agent_id, text, took)
           && DB_RUN(tx, err, SQL_AGENT_SEEN, w->agent_id, status, etag)
           && db_commit(tx, err);
}

enum work_result
inventory_run(struct work *w, struct error *err)
{
    CLEANUP(agent_row) struct agent_row  agent = { 0 };
    CLEANUP(json_ref) json_t            *status = NULL, *report = NULL, *rows = NULL;
    CLEANUP(mem) char                   *etag = NULL, *fingerprint = NULL, *text = NULL;
    const struct target                 *module = target_find("nginx-module");
    struct timespec                      from, to;
    bool                                 unchanged = false;

    w->quiet = true;
    rows = json_array();
    clock_gettime(CLOCK_MONOTONIC, &from);

    if (!link_agent(w, w->agent_id, &agent, err)
        || !module->status(&agent.link, &status, &fingerprint, err)
        || !module->report(&agent.link, agent.etag, &report, &etag, &unchanged, err)
        || (!unchanged && !inventory_rows(report, rows, err)))
    {
        return WORK_FAILED;
    }

    clock_gettime(CLOCK_MONOTONIC, &to);
    text = json_dumps(status, JSON_COMPACT);

    if (unchanged) {
        return DB_RUN(w->core.db, err, SQL_AGENT_SEEN, w->agent_id, text, NULL)
               ? WORK_DONE : WORK_FAILED;
    }

    return inventory_store(w, rows, text, etag, (to.tv_sec - from.tv_sec) * 1e3
                           + (to.tv_nsec - from.tv_nsec) / 1e6, err)
           ? WORK_DONE : WORK_FAILED;
}

bool
inventory_failed(struct work *w, const char *reason, struct error *err)
{
    return DB_RUN(w->core.db, err, SQL_AGENT_FAILED, w->agent_id, reason);
}
