/*
 * First contact with a module: pinned fingerprint, identity key made on the
 * host, certificate of the fleet CA; and the renewal of that identity.
 */
#include "agent.h"

#include "link.h"
#include "point.h"
#include "sql_core.h"
#include "sql_live.h"
#include "sql_trust.h"
#include "tls_probe.h"
#include "trust.h"
#include "wire.h"
#include "work.h"
#include "x509_chain.h"
#include "x509_info.h"

#include <stdio.h>
#include <string.h>

#define AGENT_ID_MAX  101

CLEANUP_FUNC(json_ref, json_t *, json_decref)

bool
agent_enrol(const struct core *c, const char *agent_id, struct error *err)
{
    return DB_RUN(c->db, err, SQL_AGENT_ENROL_JOB, agent_id, c->actor);
}

/* "https://[::1]:9443" -> "::1" and 9443 */
static bool
agent_address(const char *url, char *host, size_t size, int *port,
    struct error *err)
{
    const char  *from = url + strlen("https://"), *to, *colon;

    if (*from == '[') {
        from++;
        to = strchr(from, ']');
        colon = to && to[1] == ':' ? to + 1 : NULL;
    } else {
        colon = strchr(from, ':');
        to = colon ? colon : from + strlen(from);
    }

    if (to == NULL || to == from || (size_t) (to - from) >= size) {
        return error_set(err, ERR_INVALID, "%s has no host", url);
    }

    snprintf(host, size, "%.*s", (int) (to - from), from);
    *port = colon ? (int) strtol(colon + 1, NULL, 10) : 443;

    return true;
}

/* The id of the agent that a certificate of a fleet CA names. */
static bool
agent_named(const char *kind, const char *text, void *data)
{
    char          *id = data;
    const size_t   len = sizeof(CERTCTL_URN_AGENT) - 1;

    if (strcmp(kind, "URI") != 0 || strncmp(text, CERTCTL_URN_AGENT, len) != 0) {
        return true;
    }

    snprintf(id, AGENT_ID_MAX, "%s", text + len);

    return false;
}

/*
 * A host with the identity of another agent is that agent: a new identity for this
 * one would take its place.  The fingerprint alone does not tell, as that of an
 * identity is stored after it was installed.
 */
static bool
agent_unknown(struct work *w, const struct agent_row *agent,
    const struct tls_probe *seen, struct error *err)
{
    CLEANUP(mem) char  *other = NULL;
    const char         *why;
    STACK_OF(X509)     *chain = certctl_chain_from_pem(seen->chain_pem,
                                                       strlen(seen->chain_pem), &why);
    char                id[AGENT_ID_MAX] = "";
    struct error        none = { 0 };

    if (chain) {
        certctl_x509_each_san(sk_X509_value(chain, 0), agent_named, id);
        sk_X509_pop_free(chain, X509_free);
    }

    if (*id == '\0' || strcmp(id, agent->link.agent_id) == 0) {
        return true;
    }

    other = DB_VALUE(w->core.db, &none, SQL_AGENT_OF_HOST, id);

    if (other == NULL && none.code != ERR_NOT_FOUND) {
        *err = none;
        return false;
    }

    return other == NULL
           || error_set(err, ERR_INVALID, "this host is agent %s (%s): change the url of "
                        "that agent, or retire it first", id, other);
}

/*
 * --trust-on-first-use: what the listener shows now is pinned, and the row
 * remembers it, so that a later step cannot meet another one.  What is not a
 * module is not asked anything, and its fingerprint is not shown.
 */
static bool
agent_pin_first(struct work *w, struct agent_row *agent, char *pin,
    struct error *err)
{
    CLEANUP(tls_probe) struct tls_probe  probe = { 0 };
    struct error                         unseen = { 0 };
    char                                 host[256];
    struct tls_probe_request             req = {
        .host = host, .reach = HTTP_PRIVATE,
        .check = target_find("nginx-module")->identity,
    };

    if (agent->enrolled || (agent->link.pin == NULL && !agent->link.trust_any)) {
        return true;
    }

    if (!agent_address(agent->link.url, host, sizeof(host), &req.port, err)) {
        return false;
    }

    /* why another certificate than the pinned one is refused is said later */

    if (!tls_probe(w->http, &req, &probe, agent->link.pin ? &unseen : err)) {
        return agent->link.pin != NULL;
    }

    if (agent->link.pin) {
        return agent_unknown(w, agent, &probe, err);
    }

    if (!agent_unknown(w, agent, &probe, err)
        || !DB_RUN(w->core.db, err, SQL_AGENT_PIN, w->agent_id, probe.fingerprint))
    {
        err->code = err->code == ERR_CONFLICT ? ERR_INVALID : err->code;
        return false;
    }

    memcpy(pin, probe.fingerprint, sizeof(probe.fingerprint));
    agent->link.pin = pin;

    return true;
}

/*
 * A host that was away for longer than its identity lived shows one that no CA
 * vouches for any more.  It is the one that was installed there: only this host
 * has its key.
 */
static void
agent_pin_lapsed(struct agent_row *agent)
{
    if (agent->lapsed) {
        agent->link.pin = agent->lapsed;
    }
}

static bool
agent_sans(const struct target_link *link, char *out, size_t size,
    struct error *err)
{
    char  host[256];
    int   port;
    bool  ip;

    if (!agent_address(link->url, host, sizeof(host), &port, err)) {
        return false;
    }

    ip = strchr(host, ':') || strspn(host, "0123456789.") == strlen(host);

    snprintf(out, size, "%s:%s,URI:" CERTCTL_URN_AGENT "%s", ip ? "IP" : "DNS",
             host, link->agent_id);

    return true;
}

/*
 * The host learns the CAs before it gets an identity of one.  *by is the current
 * one, or the one that it is called by if it cannot learn; to be freed.
 */
static bool
agent_learn(struct work *w, struct agent_row *agent, char **by, struct error *err)
{
    CLEANUP(json_ref) json_t  *status = NULL;
    CLEANUP(mem) char         *shown = NULL;
    bool                       knows;

    if (!target_find("nginx-module")->status(&agent->link, &status, &shown, err)
        || !trust_send(w->fleet, agent, status, &knows, err))
    {
        return false;
    }

    *by = knows ? DB_VALUE(w->core.db, err, SQL_AUTHORITY_GET, "current")
                : strdup(agent->authority.id);

    return *by != NULL || error_set(err, ERR_INTERNAL, "no fleet CA can sign");
}

static bool
agent_install_identity(struct work *w, struct agent_row *agent, const char *by,
    char fingerprint[65], time_t *until, struct error *err)
{
    const struct target      *module = target_find("nginx-module");
    struct target_item        item = { .record = CERTCTL_WIRE_IDENTITY };
    CLEANUP(mem) char        *csr = NULL, *chain = NULL;
    char                      sans[600];

    if (!agent_sans(&agent->link, sans, sizeof(sans), err)
        || !module->csr(&agent->link, CERTCTL_WIRE_IDENTITY, "ec-p256", sans, false,
                        &csr, err))
    {
        return false;
    }

    CERTCTL_POINT("enrol.csr.received");

    chain = fleet_sign_agent(&w->core, by, csr, sans, until, err);

    if (chain == NULL || !work_alive(w, err)) {
        return false;
    }

    item.chain_pem = chain;
    module->install(&agent->link, &item, 1);

    if (!item.installed) {
        *err = item.err;
        return false;
    }

    memcpy(fingerprint, item.fingerprint, sizeof(item.fingerprint));

    CERTCTL_POINT("enrol.identity.installed");

    return true;
}

/*
 * From here on only the fleet CA's word counts: the status comes through it.  A
 * connection that is used again shows the identity before, so the fingerprint is
 * the one that was installed.
 */
static bool
agent_confirm(struct work *w, struct agent_row *agent, const char *by,
    const char *fingerprint, time_t until, struct error *err)
{
    CLEANUP(json_ref) json_t  *status = NULL, *details = NULL;
    CLEANUP(mem) char         *shown = NULL, *text = NULL;
    CLEANUP(db_tx) struct db  *tx = NULL;
    char                       seconds[24];

    agent->link.pin = NULL;

    if (!target_find("nginx-module")->status(&agent->link, &status, &shown, err)) {
        return error_prefix(err, "the module does not show its new identity");
    }

    text = json_dumps(status, JSON_COMPACT);
    details = json_pack("{s:s}", "fingerprint", fingerprint);
    snprintf(seconds, sizeof(seconds), "%lld", (long long) until);

    return work_begin(w, &tx, err)
           && DB_RUN(tx, err, SQL_AGENT_ENROLLED, w->agent_id, fingerprint, seconds,
                     by)
           && DB_RUN(tx, err, SQL_AGENT_SEEN, w->agent_id, text, NULL)
           && DB_RUN(tx, err, SQL_AGENT_LOOK, w->agent_id)
           && audit_write(&w->core, AUDIT_CERT_LIFECYCLE, "agent_enrolled", "agent",
                          w->agent_id, details, err)
           && db_commit(tx, err);
}

enum work_result
enrolment_run(struct work *w, struct error *err)
{
    CLEANUP(agent_row) struct agent_row  agent = { 0 };
    CLEANUP(mem) char                   *by = NULL;
    char                                 pin[65], fingerprint[65];
    time_t                               until;

    if (!link_agent(w, w->agent_id, &agent, err)) {
        return WORK_FAILED;
    }

    agent_pin_lapsed(&agent);

    return agent_pin_first(w, &agent, pin, err)
           && agent_learn(w, &agent, &by, err)
           && agent_install_identity(w, &agent, by, fingerprint, &until, err)
           && agent_confirm(w, &agent, by, fingerprint, until, err)
           ? WORK_DONE : WORK_FAILED;
}

bool
enrolment_failed(struct work *w, const char *reason, struct error *err)
{
    return DB_RUN(w->core.db, err, SQL_AGENT_FAILED, w->agent_id, reason);
}
