/* Discovery scans: one report of one host each. */
#include "api.h"
#include "resource_fields.h"

static const struct field  fields[] = {
    FIELD_READ("id", T_TEXT, "of the report"),
    FIELD_READ("agent_id", T_TEXT, "the host"),
    FIELD_READ("directories", T_TEXTS, "that were looked at"),
    FIELD_READ("certificates_found", T_INT, "in it"),
    FIELD_READ("certificates_new", T_INT, "not seen before"),
    FIELD_READ("errors_count", T_INT, "that could not be read"),
    FIELD_READ("scan_duration_ms", T_INT, "milliseconds"),
    FIELD_READ("started_at", T_TIME, "begin"),
    FIELD_READ("completed_at", T_TIME, "end"),
    { 0 }
};

static const struct filter  filters[] = { { "agent_id", "agent_id", OP_EQ }, { 0 } };

static const struct sort  sorts[] = {
    { "started_at", "started_at" }, { "createdAt", "started_at" }, { 0 }
};

const struct resource  discovery_scan_resource = {
    .name = "discovery_scan", .schema = "DiscoveryScan", .fields = fields,
    .view = "api_discovery_scans", .filters = filters, .sorts = sorts,
    .order = "started_at"
};
