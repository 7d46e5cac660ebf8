/* Renewal policies: when, by which issuer and under which controls. */
#include "api.h"
#include "resource_fields.h"

static const struct field  fields[] = {
    FIELD_ID,
    FIELD_NAME,
    FIELD_REF("organization_id", F_FIXED | F_NULL,
              "the scope: one policy for each organization; never changes"),
    { "is_default", T_BOOL, F_FIXED, .help = "the account's default policy" },
    FIELD_REF("issuer_id", F_NULL, "who issues; else the certificate's issuer"),
    FIELD_REF("certificate_profile_id", F_NULL, "what may be issued"),
    { "method", T_TEXT, .allowed = "issuer acme ad_cs manual none",
      .init = "\"issuer\"", .help = "manual tracks only, none disables" },
    { "auto_renew", T_BOOL, .init = "true", .help = "renew without being asked" },
    { "auto_renew_enabled", T_BOOL, .alias = "auto_renew",
      .help = "another name of auto_renew" },
    { "renewal_window_days", T_INT, 0, 1, 365,
      .init = "30", .help = "days before expiry" },
    { "renew_before_days", T_INT, 0, 1, 365, .alias = "renewal_window_days",
      .help = "another name of renewal_window_days" },
    { "max_retries", T_INT, 0, 0, 10, .init = "3", .help = "tries of one attempt" },
    { "retry_interval_seconds", T_INT, 0, 60, 86400,
      .init = "3600", .help = "between tries" },
    { "alert_thresholds_days", T_INTS, 0, 0, 20, 3660,
      .init = "[30,14,7,0]", .help = "days before expiry at which alerts fire" },
    { "require_change_record", T_BOOL,
      .init = "false", .help = "waits for an approved change" },
    { "rollback_on_failure", T_BOOL,
      .init = "false", .help = "put the last good version back" },
    { "max_concurrent_renewals", T_INT, 0, 1, 1000,
      .init = "5", .help = "in one sweep" },
    { "is_active", T_BOOL, .init = "true", .help = "applies at all" },
    { "default_target_ids", T_TEXTS, 0, 0, 100, 100,
      .init = "[]", .help = "targets of certificates that are created without one; their "
      "record or cert_path contains {id} or {common_name}" },
    FIELD_CREATED_AT,
    FIELD_UPDATED_AT,
    { 0 }
};

static const struct filter  filters[] = {
    { "organization_id", "organization_id", OP_EQ },
    { "issuer_id", "issuer_id", OP_EQ }, { 0 }
};

static const struct sort  sorts[] = { SORT_NAMES, { 0 } };

const struct resource  renewal_policy_resource = {
    .name = "renewal_policy", .category = AUDIT_CONFIG, .table = "renewal_policies",
    .schema = "RenewalPolicy", .fields = fields,
    .view = "api_renewal_policies", .filters = filters, .sorts = sorts
};
