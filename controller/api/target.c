/* Targets: places where certificates are served. */
#include "address.h"
#include "api.h"
#include "resource_fields.h"
#include "target.h"

#include <stdio.h>

static const struct field  fields[] = {
    FIELD_ID,
    FIELD_NAME,
    { "type", T_TEXT, 0, 1, 40, .kinds = target_kinds, .init = "\"nginx-module\"",
      .help = "connector; letter case is ignored" },
    FIELD_REF("agent_id", F_REQUIRED, "the host"),
    { "config", T_OBJECT, .kinds = target_kinds,
      .help = "as the connector needs it" },
    { "enabled", T_BOOL, .init = "true", .help = "may be deployed to" },
    FIELD_READ("last_tested_at", T_TIME, "last test"),
    FIELD_READ("test_status", T_TEXT, "its result"),
    FIELD_READ("source", T_TEXT, "who made it"),
    FIELD_READ("retired_at", T_TIME, "with its agent"),
    FIELD_READ("retired_reason", T_TEXT, "why"),
    FIELD_CREATED_AT,
    FIELD_UPDATED_AT,
    { 0 }
};

static const struct filter  filters[] = {
    { "agent_id", "agent_id", OP_EQ }, { "type", "type", OP_EQ },
    { "enabled", "enabled", OP_EQ }, { 0 }
};

static const struct sort  sorts[] = { SORT_NAMES, { 0 } };

static bool
target_check(struct request *r, const char *id, const json_t *current)
{
    const json_t  *config = json_object_get(r->body, "config");
    const char    *probe = json_string_value(json_object_get(config, "probe"));
    char           url[400];

    (void) id, (void) current;
    snprintf(url, sizeof(url), "https://%.300s", probe ? probe : "");

    return address_check(r, "/config/probe", url);
}

const struct resource  target_resource = {
    .name = "target", .category = AUDIT_CONFIG, .table = "deployment_targets",
    .schema = "DeploymentTarget", .fields = fields,
    .view = "api_targets", .filters = filters, .sorts = sorts, .check = target_check
};
