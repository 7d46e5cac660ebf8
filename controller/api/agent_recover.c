/* A host that comes back: polled at once, or registered again with a new store. */
#include "agent.h"
#include "agent_fields.h"
#include "api.h"
#include "conf.h"
#include "http.h"
#include "resource_fields.h"
#include "rest_auth.h"

#include <string.h>

static const struct field  fields[] = {
    { "fingerprint", T_TEXT, F_WRITE, 64, 64, .pattern = "[0-9a-f]{64}",
      .help = "SHA-256 of the certificate that its listener shows now, when its store is lost" },
    { "url", T_TEXT, F_WRITE, 9, 300, .pattern = AGENT_URL_PATTERN,
      .help = "its control listener, when its address has changed" },
    { "reason", T_TEXT, F_WRITE, 1, 500, .help = "for the audit trail" },
    { "override_limit", T_BOOL, F_WRITE,
      .help = "renew what is missing beyond max_issuances_per_day; needs a reason, and the "
              "permission cert.issue" },
    FIELD_READ("status", T_TEXT, "recovery_started"),
    FIELD_STATE("next", "first_contact report", "what the controller does now"),
    FIELD_READ("certificate_ids", T_TEXTS,
               "deployed to the host: those that its report does not have are renewed"),
    { 0 }
};

const struct resource  agent_recover_resource = {
    .name = "agent", .schema = "RecoverAgentResponse", .request = "RecoverAgentRequest",
    .category = AUDIT_CERT_LIFECYCLE, .fields = fields
};

static bool
recover_check(struct request *r, const struct agent_recovery *how)
{
    if (how->override_limit && how->reason == NULL) {
        return error_field(&r->err, "/reason", "override_limit needs a reason");
    }

    if (how->override_limit && !auth_may(r, "cert.issue")) {
        return error_set(&r->err, ERR_FORBIDDEN, "override_limit needs the permission "
                         "cert.issue");
    }

    if (how->url
        && !http_url_allowed(&r->ctx->conf->outgoing, HTTP_PRIVATE, how->url, &r->err))
    {
        r->err.code = ERR_INVALID;
        return error_prefix(&r->err, "url");
    }

    return true;
}

bool
agent_recover_post(struct request *r)
{
    const struct core      core = { r->db, r->ctx->seal, r->actor, r->actor_type };
    CLEANUP(json) json_t  *answer = NULL;
    struct agent_recovery  how = { 0 };

    if (!resource_check_optional(r, fields)) {
        return false;
    }

    how = (struct agent_recovery) {
        .fingerprint = json_string_value(json_object_get(r->body, "fingerprint")),
        .url = json_string_value(json_object_get(r->body, "url")),
        .reason = json_string_value(json_object_get(r->body, "reason")),
        .override_limit = json_is_true(json_object_get(r->body, "override_limit")),
    };

    if (!recover_check(r, &how)
        || !agent_recover(&core, r->args[0], &how, &answer, &r->err))
    {
        return false;
    }

    r->details = json_pack("{s:s? s:s? s:s? s:b}", "fingerprint", how.fingerprint, "url",
                           how.url, "reason", how.reason, "override_limit",
                           how.override_limit);

    r->status = 202;

    return rest_reply_json(r, answer);
}
