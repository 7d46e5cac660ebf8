/* Owners: the people behind certificates; their address gets the alerts. */
#include "api.h"
#include "resource_fields.h"

static const struct field  fields[] = {
    FIELD_ID,
    FIELD_NAME,
    { "email", T_TEXT, F_REQUIRED, 3, 254, .pattern = "[^@\\s]+@[^@\\s]+",
      .help = "where notifications go" },
    FIELD_REF("team_id", F_NULL, "the team they belong to"),
    FIELD_CREATED_AT,
    FIELD_UPDATED_AT,
    { 0 }
};

static const struct filter  filters[] = {
    { "team_id", "team_id", OP_EQ }, { "email", "email", OP_EQ }, { 0 }
};

static const struct sort  sorts[] = { SORT_NAMES, { "email", "email" }, { 0 } };

const struct resource  owner_resource = {
    .name = "owner", .category = AUDIT_CONFIG, .table = "owners",
    .schema = "Owner", .fields = fields, .view = "api_owners",
    .filters = filters, .sorts = sorts
};
