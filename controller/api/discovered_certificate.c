/* Observed certificates: what is live on the hosts, managed or not. */
#include "adoption.h"
#include "api.h"
#include "resource_fields.h"
#include "sql_discovery.h"

#include <string.h>

static const struct field  fields[] = {
    FIELD_READ("id", T_TEXT, "of this certificate at this place"),
    FIELD_READ("fingerprint_sha256", T_TEXT, "lower-case hex"),
    FIELD_READ("common_name", T_TEXT, "of the subject"),
    FIELD_READ("sans", T_TEXTS, "its names"),
    FIELD_READ("serial_number", T_TEXT, "lower-case hex"),
    FIELD_READ("issuer_dn", T_TEXT, "RFC 4514"),
    FIELD_READ("subject_dn", T_TEXT, "RFC 4514"),
    FIELD_READ("not_before", T_TIME, "RFC 5280 4.1.2.5"),
    FIELD_READ("not_after", T_TIME, "RFC 5280 4.1.2.5"),
    FIELD_READ("expires_at", T_TIME, "another name of not_after"),
    FIELD_READ("key_algorithm", T_TEXT, "kind of key"),
    FIELD_READ("key_size", T_INT, "bits"),
    FIELD_READ("is_ca", T_BOOL, "RFC 5280 4.2.1.9"),
    FIELD_READ("is_leaf", T_BOOL, "alerts and renews"),
    FIELD_READ("has_private_key", T_BOOL, "its key is on that host"),
    FIELD_READ("must_staple", T_BOOL, "RFC 7633"),
    FIELD_READ("staple", T_TEXT, "of OCSP"),
    FIELD_READ("staple_next_update", T_TIME, "of OCSP"),
    FIELD_READ("pem_data", T_TEXT, "the certificate"),
    FIELD_READ("source_path", T_TEXT, "the place"),
    FIELD_STATE("source_format", "live file network", "how it was seen"),
    FIELD_READ("source", T_TEXT, "store static variable placeholder"),
    FIELD_READ("server_names", T_TEXTS, "of its server block"),
    FIELD_READ("served_names", T_TEXTS, "whose clients get it, the first 100"),
    FIELD_READ("why", T_TEXT, "why it is served, in the module's words"),
    FIELD_READ("listen", T_TEXTS, "of its server block"),
    FIELD_READ("record", T_TEXT, "its name in the store"),
    FIELD_READ("agent_id", T_TEXT, "the host"),
    FIELD_READ("discovery_scan_id", T_TEXT, "the last report with it"),
    FIELD_READ("managed_certificate_id", T_TEXT, "its managed certificate"),
    FIELD_STATE("status", "Unmanaged Managed Dismissed", "whether it is managed"),
    FIELD_STATE("expiry_status", "valid expiring_soon expiring expired",
                "30 or 7 days left; of a lifetime below 90 days a third or a tenth"),
    FIELD_READ("days_until_expiry", T_INT, "negative afterwards"),
    FIELD_READ("first_seen_at", T_TIME, "first report"),
    FIELD_READ("last_seen_at", T_TIME, "last report"),
    FIELD_READ("dismissed_at", T_TIME, "when it was dismissed (UTC)"),
    FIELD_CREATED_AT,
    FIELD_UPDATED_AT,
    { 0 }
};

static const struct filter  filters[] = {
    { "status", "status", OP_EQ }, { "agent_id", "agent_id", OP_EQ },
    { "expiry_status", "expiry_status", OP_EQ },
    { "managed_certificate_id", "managed_certificate_id", OP_EQ },
    { "fingerprint_sha256", "fingerprint_sha256", OP_EQ },
    { "is_leaf", "is_leaf", OP_EQ },
    { "expires_before", "not_after", OP_BEFORE }, { 0 }
};

static const struct sort  sorts[] = {
    { "notAfter", "not_after" }, { "not_after", "not_after" },
    { "expires_at", "not_after" }, { "commonName", "common_name" },
    { "common_name", "common_name" }, { "createdAt", "created_at" },
    { "created_at", "created_at" }, { "last_seen_at", "last_seen_at" },
    { "status", "status" }, { 0 }
};

const struct resource  discovered_certificate_resource = {
    .name = "discovered_certificate", .schema = "DiscoveredCertificate",
    .fields = fields, .view = "api_discovered_certificates",
    .filters = filters, .sorts = sorts
};

static const struct field  claim_fields[] = {
    FIELD_READ("status", T_TEXT, "claimed"),
    FIELD_READ("message", T_TEXT, "in words"),
    { "managed_certificate_id", T_TEXT, F_NULL, 1, 100,
      .help = "whose certificate it is; made anew when missing" },
    { "reason", T_TEXT, F_WRITE, 0, 500, .help = "for the audit trail" },
    { 0 }
};

const struct resource  discovered_claim_resource = {
    .name = "discovered_certificate", .category = AUDIT_CERT_LIFECYCLE,
    .schema = "ClaimResponse",
    .request = "ClaimRequest", .fields = claim_fields
};

static const struct field  dismiss_fields[] = {
    FIELD_READ("status", T_TEXT, "dismissed"),
    FIELD_READ("message", T_TEXT, "in words"),
    { "reason", T_TEXT, F_WRITE, 0, 500, .help = "for the audit trail" },
    { 0 }
};

const struct resource  discovered_dismiss_resource = {
    .name = "discovered_certificate", .category = AUDIT_CERT_LIFECYCLE,
    .schema = "DismissResponse",
    .request = "DismissRequest", .fields = dismiss_fields
};

static const struct field  summary_fields[] = {
    FIELD_READ("Unmanaged", T_INT, "nobody's"),
    FIELD_READ("Managed", T_INT, "kept alive"),
    FIELD_READ("Dismissed", T_INT, "looked at"),
    { 0 }
};

const struct resource  discovery_summary_resource = {
    .name = "discovery", .schema = "DiscoverySummary", .fields = summary_fields
};

static const char *
body_text(const struct request *r, const char *name)
{
    return json_string_value(json_object_get(r->body, name));
}

bool
discovered_claim(struct request *r)
{
    const struct core      core = { r->db, r->ctx->seal, r->actor, r->actor_type };
    CLEANUP(json) json_t  *answer = NULL;
    CLEANUP(mem) char     *managed = NULL;

    if (!resource_check_optional(r, claim_fields)
        || !adoption_claim(&core, r->args[0], body_text(r, "managed_certificate_id"),
                           &managed, &r->err))
    {
        return false;
    }

    answer = json_pack("{s:s s:s s:s}", "status", "claimed", "message",
                       "the certificate is managed from now on",
                       "managed_certificate_id", managed);
    r->details = json_pack("{s:s s:s?}", "managed_certificate_id", managed,
                           "reason", body_text(r, "reason"));

    return rest_reply_json(r, answer);
}

bool
discovered_dismiss(struct request *r)
{
    CLEANUP(json) json_t  *answer = NULL;
    CLEANUP(mem) char     *known = NULL, *id = NULL;

    if (!resource_check_optional(r, dismiss_fields)) {
        return false;
    }

    known = resource_text(r, &discovered_certificate_resource, r->args[0]);
    if (known == NULL) {
        return false;
    }

    id = DB_VALUE(r->db, &r->err, SQL_DISCOVERED_CERTIFICATE_DISMISS, r->args[0]);
    if (id == NULL) {
        return r->err.code != ERR_NOT_FOUND ? false
               : error_set(&r->err, ERR_CONFLICT, "a managed certificate cannot be "
                           "dismissed: archive it instead");
    }

    answer = json_pack("{s:s s:s}", "status", "dismissed", "message",
                       "the certificate is left alone");
    r->details = json_pack("{s:s?}", "reason", body_text(r, "reason"));

    return rest_reply_json(r, answer);
}

bool
discovery_summary(struct request *r)
{
    CLEANUP(mem) char  *text = DB_VALUE(r->db, &r->err, SQL_DISCOVERY_SUMMARY);

    return text && rest_reply_text(r, text, strlen(text));
}
