/* A host that must not be trusted any more, and all certificates it has keys of. */
#include "agent.h"
#include "api.h"
#include "resource_fields.h"

static const struct field  kept[] = {
    FIELD_READ("certificate_id", T_TEXT, "which"),
    FIELD_READ("reason", T_TEXT, "the rule that forbids its renewal"),
    { 0 }
};

static const struct field  fields[] = {
    { "reason", T_TEXT, F_WRITE, .allowed = "unspecified keyCompromise caCompromise "
      "affiliationChanged superseded cessationOfOperation certificateHold "
      "privilegeWithdrawn", .help = "RFC 5280 5.3.1, keyCompromise unless given" },
    FIELD_READ("status", T_TEXT, "revoked"),
    FIELD_READ("revoked_certificates", T_INT, "how many were revoked"),
    FIELD_READ("replaced", T_TEXTS, "certificates renewed for the other hosts"),
    { "not_replaced", T_ROWS, F_READ, .of = kept,
      .help = "those that are not renewed, and why" },
    FIELD_READ("ended", T_TEXTS, "certificates that no other host serves"),
    { 0 }
};

const struct resource  agent_revoke_resource = {
    .name = "agent", .schema = "RevokeAgentResponse", .request = "RevokeAgentRequest",
    .category = AUDIT_CERT_LIFECYCLE,
    .fields = fields
};

bool
agent_revoke_post(struct request *r)
{
    const struct core     core = { r->db, r->ctx->seal, r->actor, r->actor_type };
    CLEANUP(json) json_t *answer = NULL;
    const char           *reason;

    if (!resource_check_optional(r, fields)) {
        return false;
    }

    reason = json_string_value(json_object_get(r->body, "reason"));

    if (!agent_revoke(&core, r->args[0], reason ? reason : "keyCompromise", &answer,
                      &r->err))
    {
        return false;
    }

    r->details = json_deep_copy(answer);

    return rest_reply_json(r, answer);
}
