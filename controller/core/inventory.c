/* Reads what a module serves and keeps the observed certificates in step. */
#include "work.h"

#include "agent.h"
#include "link.h"
#include "log.h"
#include "sql_core.h"
#include "sql_live.h"
#include "trust.h"
#include "wire.h"
#include "x509_chain.h"
#include "x509_info.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

/* One reading of all that an agent serves. */
struct walk {
    const struct target       *module;
    const struct target_link  *link;
    const char                *scan;      /* its id, which each row gets */
    const char                *from;      /* what is deployed later is judged later */
    bool                       recovers;  /* what is missing is renewed */
    struct timespec            begin;
};

/* page is the next one; what it held is freed. */
static bool
walk_ask(const struct walk *walk, bool full, const char *after, const char *etag,
    struct target_page *page, struct error *err)
{
    struct target_ask  ask = { .full = full, .after = after, .etag = etag };

    target_page_cleanup(page);

    return walk->module->report(walk->link, &ask, page, err);
}

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
    const char    *why = json_string_value(json_object_get(entry, "why"));
    char           place[1024];

    snprintf(place, sizeof(place), "%s:%d %s %s", file ? file : "store",
             (int) json_integer_value(json_object_get(server, "line")),
             first ? first : "", kind ? kind : "");

    return json_object_update_new(row, json_pack(
        "{s:s, s:s, s:s, s:O?, s:O?, s:O?, s:O?, s:b, s:s, s:O?}",
        "place", place, "source", source ? source : "", "why", why ? why : "",
        "server_names", names, "served_names", json_object_get(entry, "served_names"),
        "listen", listen,
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

/* The listener's own identity is the agent's, renewed by Enrolment. */
static bool
entry_is_agent(const json_t *entry)
{
    const char  *record = json_string_value(json_object_get(entry, "name"));

    return json_is_true(json_object_get(json_object_get(entry, "server"), "agent"))
           || (record && strcmp(record, CERTCTL_WIRE_IDENTITY) == 0);
}

static bool
inventory_rows(const json_t *report, json_t *rows, struct error *err)
{
    json_t  *entry, *row;
    size_t   i;

    json_array_foreach(json_object_get(report, "certificates"), i, entry) {

        if (entry_is_agent(entry)) {
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

/* The records of a page that no server block uses. */
static bool
inventory_unserved(struct work *w, const struct walk *walk, const json_t *report,
    struct db *tx, struct error *err)
{
    const json_t       *unserved = json_object_get(report, "unserved");
    CLEANUP(mem) char  *text = NULL;

    if (json_array_size(unserved) == 0) {
        return true;
    }

    text = json_dumps(unserved, JSON_COMPACT);

    return text ? DB_RUN(tx, err, SQL_LIVE_UNSERVED, w->agent_id, text, walk->scan)
                : error_set(err, ERR_INTERNAL, "out of memory");
}

/* One page with all that is said about its certificates. */
static bool
inventory_store(struct work *w, const struct walk *walk, const json_t *report,
    struct error *err)
{
    CLEANUP(json_ref) json_t  *rows = json_array();
    CLEANUP(mem) char         *text = NULL;
    CLEANUP(db_tx) struct db  *tx = NULL;

    if (!inventory_rows(report, rows, err)) {
        return false;
    }

    text = json_dumps(rows, JSON_COMPACT);

    return text ? work_begin(w, &tx, err)
                  && DB_RUN(tx, err, SQL_INVENTORY_STORE, w->agent_id, text, walk->scan)
                  && inventory_unserved(w, walk, report, tx, err)
                  && db_commit(tx, err)
                : error_set(err, ERR_INTERNAL, "out of memory");
}

/*
 * A compact page of which each certificate was seen before, at the same place:
 * its rows are seen again.  *known is false when one was not, and then nothing
 * has changed.
 */
static bool
inventory_known(struct work *w, const struct walk *walk, const json_t *report,
    bool *known, struct error *err)
{
    CLEANUP(json_ref) json_t    *rows = json_array();
    CLEANUP(mem) char           *text = NULL;
    CLEANUP(pgresult) PGresult  *odd = NULL;
    CLEANUP(db_tx) struct db    *tx = NULL;
    json_t                      *entry;
    size_t                       i;

    json_array_foreach(json_object_get(report, "certificates"), i, entry) {
        if (!entry_is_agent(entry)) {
            json_array_append(rows, entry);
        }
    }

    text = json_dumps(rows, JSON_COMPACT);

    if (text == NULL) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    if (!work_begin(w, &tx, err)
        || (odd = DB_EXEC(tx, err, SQL_INVENTORY_KNOWN, w->agent_id, text,
                          walk->scan)) == NULL)
    {
        return false;
    }

    *known = strcmp(PQgetvalue(odd, 0, 0), "0") == 0;

    return (!*known || inventory_unserved(w, walk, report, tx, err)) && db_commit(tx, err);
}

/*
 * Page by page.  A page with something new is asked for again in full; after a
 * start or reload of NGINX all of them are, as server blocks may have changed.
 */
static bool
inventory_walk(struct work *w, const struct walk *walk, struct target_page *page,
    bool full, struct error *err)
{
    CLEANUP(mem) char  *after = NULL;
    char               *next;
    bool                known = false;

    for ( ;; ) {
        if (!full && !inventory_known(w, walk, page->report, &known, err)) {
            return false;
        }

        if ((full || !known)
            && (!walk_ask(walk, true, after, NULL, page, err)
                || !inventory_store(w, walk, page->report, err)))
        {
            return false;
        }

        if (page->next == NULL) {
            return true;
        }

        next = strdup(page->next);
        free(after);
        after = next;

        if (after == NULL) {
            return error_set(err, ERR_INTERNAL, "out of memory");
        }

        if (!full && !walk_ask(walk, false, after, NULL, page, err)) {
            return false;
        }
    }
}

/*
 * What was not seen in this walk is gone, and what was deployed is judged by what
 * was seen.  *again when that takes a walk in full.
 */
static bool
inventory_end(struct work *w, const struct walk *walk, const char *status,
    const char *etag, bool full, bool *again, struct error *err)
{
    CLEANUP(db_tx) struct db  *tx = NULL;
    CLEANUP(mem) char         *worse = NULL;
    struct timespec            now;
    char                       took[16];

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(took, sizeof(took), "%d", (int) ((now.tv_sec - walk->begin.tv_sec) * 1000
             + (now.tv_nsec - walk->begin.tv_nsec) / 1000000));

    if (!work_begin(w, &tx, err)
        || !DB_RUN(tx, err, SQL_INVENTORY_END, w->agent_id, walk->scan, took)
        || !DB_RUN(tx, err, SQL_LIVE_UNSERVED_END, w->agent_id, walk->scan)
        || !(worse = DB_VALUE(tx, err, SQL_LIVE_LOOK, w->agent_id, walk->from, "false",
                              full ? "true" : "false")))
    {
        return false;
    }

    *again = strcmp(worse, "0") != 0;

    return (*again
            || (DB_RUN(tx, err, SQL_AGENT_SEEN, w->agent_id, status, etag)
                && (!walk->recovers || agent_recovered(w, tx, err))))
           && db_commit(tx, err);
}

/* page is the first one; its etag is kept, as what changes in between is found the
 * next time. */
static bool
inventory_read(struct work *w, struct walk *walk, struct target_page *page,
    const char *status, bool full, bool *again, struct error *err)
{
    CLEANUP(mem) char  *etag = TAKE(page->etag);
    CLEANUP(mem) char  *scan = DB_VALUE(w->core.db, err, SQL_NEW_ID, "dscan-");

    walk->scan = scan;

    return scan && inventory_walk(w, walk, page, full, err)
           && inventory_end(w, walk, status, etag, full, again, err);
}

/* The report that is known still stands: what was deployed meanwhile, or was not
 * known while the host did not answer, is judged by it. */
static bool
inventory_unchanged(struct work *w, const struct agent_row *agent,
    const char *status, bool *again, struct error *err)
{
    CLEANUP(mem) char  *worse = NULL;

    *again = agent->recovers;

    if (agent->live_due) {
        worse = DB_VALUE(w->core.db, err, SQL_LIVE_LOOK, w->agent_id, agent->read_at, "true",
                         "false");
        if (worse == NULL) {
            return false;
        }
        *again |= strcmp(worse, "0") != 0;
    }

    return *again || DB_RUN(w->core.db, err, SQL_AGENT_SEEN, w->agent_id, status, NULL);
}

/* Start and configuration of NGINX, all of an ETag but the store's generation. */
static bool
same_configuration(const char *a, const char *b)
{
    const char  *end = strrchr(a, '-');
    size_t       len = end ? (size_t) (end - a) : 0;

    return len && strncmp(a, b, len + 1) == 0;
}

/* A host that cannot store them is called by a CA that it knows. */
static void
inventory_trust(struct work *w, const struct agent_row *agent, json_t *status)
{
    bool          knows;
    struct error  why = { 0 };

    if (!trust_send(w->fleet, agent, status, &knows, &why)) {
        log_event(LOG_WARN, "", "agent %s does not learn the fleet CAs: %s", w->agent_id,
                  why.detail);
    }
}

static bool
inventory_all(struct work *w, struct walk *walk, const struct agent_row *agent,
    const char *status, struct error *err)
{
    CLEANUP(target_page) struct target_page  page = { 0 };
    bool                                     full, again = false;

    if (!walk_ask(walk, false, NULL, agent->etag, &page, err)) {
        return false;
    }

    if (page.unchanged) {
        if (!inventory_unchanged(w, agent, status, &again, err)) {
            return false;
        }

    } else {
        full = !same_configuration(agent->etag, page.etag);
        if (!inventory_read(w, walk, &page, status, full, &again, err)) {
            return false;
        }
    }

    return !again
           || (walk_ask(walk, true, NULL, NULL, &page, err)
               && inventory_read(w, walk, &page, status, true, &again, err));
}

enum work_result
inventory_run(struct work *w, struct error *err)
{
    CLEANUP(agent_row) struct agent_row  agent = { 0 };
    CLEANUP(json_ref) json_t            *status = NULL;
    CLEANUP(mem) char                   *fingerprint = NULL, *text = NULL;
    struct walk                          walk = { .module = target_find("nginx-module"),
                                                  .link = &agent.link };

    w->quiet = true;
    clock_gettime(CLOCK_MONOTONIC, &walk.begin);

    if (!link_agent(w, w->agent_id, &agent, err)
        || !walk.module->status(&agent.link, &status, &fingerprint, err))
    {
        return WORK_FAILED;
    }

    inventory_trust(w, &agent, status);
    text = json_dumps(status, JSON_COMPACT);
    walk.from = agent.read_at;
    walk.recovers = agent.recovers;

    return text && inventory_all(w, &walk, &agent, text, err) ? WORK_DONE : WORK_FAILED;
}

bool
inventory_failed(struct work *w, const char *reason, struct error *err)
{
    return DB_RUN(w->core.db, err, SQL_AGENT_FAILED, w->agent_id, reason);
}
