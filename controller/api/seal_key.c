/* Sealing keys: which one seals what is secret in the database. */
#include "api.h"
#include "resource_fields.h"
#include "seal_keys.h"

static const struct field  fields[] = {
    FIELD_READ("id", T_TEXT, "of the key: eight hexadecimal digits of its hash"),
    FIELD_READ("current", T_BOOL, "it seals"),
    FIELD_READ("used_at", T_TIME, "since when"),
    FIELD_READ("sealed_values", T_INT,
               "values that it has sealed: it must not be removed before there are none"),
    FIELD_READ("held_by", T_TEXTS, "processes whose seal.key has it, as host/process id"),
    FIELD_READ("missing_in", T_TEXTS, "processes whose seal.key does not have it"),
    { 0 }
};

static const struct filter  filters[] = { { "current", "current", OP_EQ }, { 0 } };

static const struct sort  sorts[] = { { "id", "id" }, { 0 } };

const struct resource  seal_key_resource = {
    .name = "seal_key", .category = AUDIT_CONFIG, .schema = "SealKey",
    .fields = fields, .view = "api_seal_keys", .filters = filters, .sorts = sorts,
    .order = "id"
};

bool
seal_key_use(struct request *r)
{
    const struct core  core = { r->db, r->ctx->seal, r->actor, r->actor_type };

    return seal_keys_use(&core, r->args[0], &r->err)
           && resource_reply(r, &seal_key_resource, r->args[0], 200);
}
