/* Organizations: scopes of hosts, certificates and policies. */
#include "api.h"
#include "resource_fields.h"

static const struct field  fields[] = {
    FIELD_ID,
    FIELD_NAME,
    FIELD_PATTERNS("allowed_san_patterns", "one of which each name must match, unless empty"),
    FIELD_PATTERNS("denied_san_patterns", "none of which a name may match"),
    FIELD_CREATED_AT,
    FIELD_UPDATED_AT,
    { 0 }
};

static const struct sort  sorts[] = { SORT_NAMES, { 0 } };

const struct resource  organization_resource = {
    .name = "organization", .category = AUDIT_CONFIG, .table = "organizations",
    .schema = "Organization", .fields = fields, .view = "api_organizations", .sorts = sorts
};
