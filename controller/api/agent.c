/* Agents: hosts that run the module; first contact is a job. */
#include "address.h"
#include "agent.h"
#include "agent_fields.h"
#include "api.h"
#include "resource_fields.h"
#include "sql_agent.h"

#include <stdio.h>

#include <string.h>

#define PROBE_PATTERN                                                         \
    "(\\[[0-9A-Fa-f:.]{2,45}\\]|[A-Za-z0-9._-]{1,253}):[0-9]{1,5}"

static const struct field  fields[] = {
    FIELD_ID,
    FIELD_LABEL("name", F_REQUIRED, 1, 128, NULL, "what people call the host"),
    { "kind", T_TEXT, F_FIXED, .allowed = "nginx-module", .answers = "nginx-module pull",
      .help = "nginx-module is reached at its url; agents that ask for work are not served yet" },
    FIELD_REF("organization_id", F_NULL, "the scope it belongs to"),
    { "url", T_TEXT, F_NULL, 9, 300, .pattern = AGENT_URL_PATTERN,
      .help = "its control listener: https://host:port" },
    { "probe_address", T_TEXT, F_NULL, 3, 300, .pattern = PROBE_PATTERN,
      .help = "host:port where handshakes confirm deployments" },
    { "fingerprint", T_TEXT, F_NULL, 64, 64, .pattern = "[0-9a-f]{64}",
      .help = "SHA-256 of the certificate that its listener shows first" },
    { "trust_on_first_use", T_BOOL, F_FIXED,
      .help = "pin what the listener shows at first contact" },
    FIELD_LABEL("hostname", 0, 0, 253, "\"\"", "its own name"),
    FIELD_STATE("status", "Pending Online Offline Degraded Retired", "how it is reached"),
    FIELD_READ("os", T_TEXT, "operating system"),
    FIELD_READ("architecture", T_TEXT, "processor"),
    FIELD_READ("ip_address", T_TEXT, "address"),
    FIELD_READ("version", T_TEXT, "of the module"),
    FIELD_READ("nginx_version", T_TEXT, "of NGINX"),
    FIELD_READ("openssl_version", T_TEXT, "of OpenSSL"),
    FIELD_READ("workers", T_INT, "worker processes"),
    FIELD_READ("identity_expires_at", T_TIME, "its fleet certificate"),
    FIELD_READ("enrolled_at", T_TIME, "first contact"),
    FIELD_READ("last_error", T_TEXT, "why it is not Online"),
    FIELD_READ("last_heartbeat_at", T_TIME, "last answer"),
    FIELD_READ("registered_at", T_TIME, "when it was added"),
    FIELD_READ("retired_at", T_TIME, "retirement"),
    FIELD_READ("retired_reason", T_TEXT, "why"),
    FIELD_READ("revoked_at", T_TIME, "revocation of the host"),
    FIELD_READ("revoked_reason", T_TEXT, "RFC 5280 5.3.1"),
    { 0 }
};

static const struct filter  filters[] = {
    { "status", "status", OP_EQ }, { "organization_id", "organization_id", OP_EQ },
    { "kind", "kind", OP_EQ }, { "os", "os", OP_EQ }, { 0 }
};

static const struct sort  sorts[] = {
    { "name", "name" }, { "status", "status" },
    { "registeredAt", "registered_at" }, { "registered_at", "registered_at" },
    { "last_heartbeat_at", "last_heartbeat_at" }, { 0 }
};

static const char *
body_text(const struct request *r, const char *name)
{
    const char  *text = json_string_value(json_object_get(r->body, name));

    return text ? text : "";
}

/* Whether the controller calls it, and does not wait for it. */
static bool
is_called(const struct request *r)
{
    return strcmp(body_text(r, "kind"), "pull") != 0;
}

static bool
agent_check(struct request *r, const char *id, const json_t *current)
{
    char  probe[400];
    bool  pinned = json_is_string(json_object_get(r->body, "fingerprint"));

    (void) id;
    snprintf(probe, sizeof(probe), "https://%.300s", body_text(r, "probe_address"));

    if (!address_check(r, "/url", body_text(r, "url"))
        || !address_check(r, "/probe_address", probe))
    {
        return false;
    }

    return current || !is_called(r)
           || pinned != json_is_true(json_object_get(r->body, "trust_on_first_use"))
           || error_field(&r->err, "/fingerprint", "give either the fingerprint of the "
                          "listener's certificate or trust_on_first_use: true");
}

/* The first contact is a job. */
static bool
agent_changed(struct request *r, const char *id, const json_t *current)
{
    const struct core  core = { r->db, r->ctx->seal, r->actor, r->actor_type };

    return current || !is_called(r) || agent_enrol(&core, id, &r->err);
}

#define AGENT(from)                                                           \
    .name = "agent", .category = AUDIT_CERT_LIFECYCLE, .schema = "Agent",     \
    .fields = fields, .view = from,                                           \
    .filters = filters, .sorts = sorts, .order = "registered_at"

const struct resource  agent_resource = {
    AGENT("api_agents"), .create = SQL_AGENT_CREATE,
    .update = SQL_AGENT_UPDATE, .check = agent_check, .changed = agent_changed
};

const struct resource  agent_active_resource = { AGENT("api_agents_active") };
const struct resource  agent_retired_resource = { AGENT("api_agents_retired") };

static const struct field  retire_fields[] = {
    FIELD_READ("retired_at", T_TIME, "when"),
    FIELD_READ("already_retired", T_BOOL, "always false: else 204"),
    FIELD_READ("cascade", T_BOOL, "its targets went with it"),
    FIELD_READ("counts", T_OBJECT, "what stood on it"),
    FIELD_READ("without_target", T_TEXTS, "certificates that now have no enabled target: "
               "nothing renews them; at most 1000"),
    { 0 }
};

static const struct filter  retire_query[] = {
    { "force", NULL, OP_EQ }, { "reason", NULL, OP_EQ }, { 0 }
};

const struct resource  agent_retire_resource = {
    .name = "agent", .category = AUDIT_CERT_LIFECYCLE, .schema = "RetireAgentResponse",
    .fields = retire_fields, .filters = retire_query
};

enum { COUNTS, RETIRED, BLOCKED, WITHOUT };

/* Asked while something stands on it: 409 with the counts, unless force. */
static bool
retire_blocked(struct request *r, const PGresult *counts)
{
    r->details = json_pack("{s:b}", "force", 0);
    r->problem = json_pack("{s:o, s:o}", "counts",
                           json_loads(PQgetvalue(counts, 0, COUNTS), 0, NULL),
                           "without_target",
                           json_loads(PQgetvalue(counts, 0, WITHOUT), 0, NULL));

    return error_set(&r->err, ERR_CONFLICT,
                     "blocked_by_dependencies: this agent has targets (counts); delete "
                     "them first, or send force=true and a reason: the certificates in "
                     "without_target are not renewed any more then");
}

static bool
retire_run(struct request *r, const PGresult *counts, const char *reason,
    bool force)
{
    CLEANUP(mem) char  *at = NULL;
    CLEANUP(json) json_t *answer = NULL;

    at = DB_VALUE(r->db, &r->err, SQL_AGENT_RETIRE, r->args[0], reason);
    if (at == NULL) {
        return false;
    }

    answer = json_pack("{s:o s:b s:b s:o s:o}",
                       "retired_at", json_loads(at, JSON_DECODE_ANY, NULL),
                       "already_retired", 0, "cascade", force, "counts",
                       json_loads(PQgetvalue(counts, 0, COUNTS), 0, NULL),
                       "without_target",
                       json_loads(PQgetvalue(counts, 0, WITHOUT), 0, NULL));
    r->details = json_pack("{s:s? s:b s:O?}", "reason", reason, "force", force,
                           "without_target", json_object_get(answer, "without_target"));

    return rest_reply_json(r, answer);
}

bool
agent_retire(struct request *r)
{
    CLEANUP(pgresult) PGresult  *counts = NULL;
    const char                  *reason = rest_query(r, "reason");
    bool                         force;

    if (!resource_query_bool(r, "force", &force)) {
        return false;
    }

    if (force && (reason == NULL || *reason == '\0')) {
        return error_set(&r->err, ERR_MALFORMED, "force needs a reason");
    }

    counts = DB_EXEC(r->db, &r->err, SQL_AGENT_COUNTS, r->args[0]);
    if (counts == NULL) {
        return false;
    }

    if (PQntuples(counts) == 0) {
        return error_not_found(&r->err, "agent", r->args[0]);
    }

    if (PQgetvalue(counts, 0, RETIRED)[0] == 't') {
        r->status = 204;
        return true;
    }

    return PQgetvalue(counts, 0, BLOCKED)[0] == 't' && !force
           ? retire_blocked(r, counts) : retire_run(r, counts, reason, force);
}
