/* Audit events: who did what; read only, by the database's own rule too. */
#include "api.h"
#include "resource_fields.h"

static const struct field  fields[] = {
    FIELD_READ("seq", T_INT, "order of writing"),
    FIELD_READ("id", T_TEXT, "of the event"),
    FIELD_READ("actor", T_TEXT, "who"),
    FIELD_READ("actor_type", T_TEXT, "User System Agent APIKey Anonymous"),
    FIELD_READ("action", T_TEXT, "what"),
    FIELD_READ("resource_type", T_TEXT, "to what kind of thing"),
    FIELD_READ("resource_id", T_TEXT, "to which"),
    FIELD_READ("details", T_OBJECT, "what changed; never a secret"),
    FIELD_READ("event_category", T_TEXT, "cert_lifecycle auth config"),
    FIELD_READ("timestamp", T_TIME, "when"),
    { 0 }
};

static const struct filter  filters[] = {
    { "actor", "actor", OP_EQ }, { "actor_type", "actor_type", OP_EQ },
    { "action", "action", OP_EQ }, { "resource_type", "resource_type", OP_EQ },
    { "resource_id", "resource_id", OP_EQ }, { "category", "event_category", OP_EQ },
    { "since", "timestamp", OP_AFTER }, { "created_after", "timestamp", OP_AFTER },
    { "until", "timestamp", OP_BEFORE }, { "created_before", "timestamp", OP_BEFORE },
    { 0 }
};

static const struct sort  sorts[] = {
    { "timestamp", "timestamp" }, { "createdAt", "timestamp" }, { 0 }
};

const struct resource  audit_event_resource = {
    .name = "audit_event", .schema = "AuditEvent", .fields = fields,
    .view = "api_audit_events", .filters = filters, .sorts = sorts,
    .order = "timestamp", .key = "seq"
};
