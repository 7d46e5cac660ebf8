/* Teams: who owns what. */
#include "api.h"
#include "resource_fields.h"

static const struct field  fields[] = {
    FIELD_ID,
    FIELD_NAME,
    { "description", T_TEXT, 0, 0, 1000, .init = "\"\"", .help = "what it is for" },
    FIELD_CREATED_AT,
    FIELD_UPDATED_AT,
    { 0 }
};

static const struct sort  sorts[] = { SORT_NAMES, { 0 } };

const struct resource  team_resource = {
    .name = "team", .category = AUDIT_CONFIG, .table = "teams",
    .schema = "Team", .fields = fields, .view = "api_teams", .sorts = sorts
};
