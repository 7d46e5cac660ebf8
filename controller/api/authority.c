/* Fleet CAs: by which hosts and controller know each other, and their replacement. */
#include "api.h"
#include "fleet.h"
#include "resource_fields.h"

#include <stdio.h>

static const struct field  fields[] = {
    FIELD_READ("id", T_TEXT, "readable id"),
    FIELD_STATE("state", "next current previous withdrawn",
                "next: hosts learn it; previous: trusted until it is withdrawn"),
    FIELD_READ("fingerprint", T_TEXT, "SHA-256 of the certificate"),
    FIELD_READ("certificate", T_TEXT, "PEM"),
    FIELD_READ("not_after", T_TIME, "end of the certificate"),
    { "overlap_days", T_INT, F_FIXED, 0, 365, .init = "30",
      .help = "days that hosts have to learn it, and then API clients to use it" },
    FIELD_READ("used_at", T_TIME, "when it became the current one"),
    FIELD_READ("withdrawn_at", T_TIME, "when it was withdrawn"),
    FIELD_READ("hosts_trusting", T_INT, "hosts that trust it, as they said last"),
    FIELD_READ("hosts_identified", T_INT, "hosts whose identity it has signed"),
    FIELD_READ("hosts_waiting", T_TEXTS,
               "agents that do not trust it yet, at most 100; of the next and the current one"),
    FIELD_CREATED_AT,
    { 0 }
};

static const struct filter  filters[] = { { "state", "state", OP_EQ }, { 0 } };

static const struct sort  sorts[] = {
    { "created_at", "created_at" }, { "state", "state" }, { 0 }
};

const struct resource  authority_resource = {
    .name = "authority", .category = AUDIT_CONFIG, .schema = "Authority",
    .fields = fields, .view = "api_authorities", .filters = filters, .sorts = sorts
};

static const struct field  withdraw_fields[] = {
    { "force", T_BOOL, F_WRITE, .help = "though hosts that answer depend on it" },
    { 0 }
};

const struct resource  authority_withdraw_resource = {
    .name = "authority", .category = AUDIT_CONFIG, .schema = "Authority",
    .request = "WithdrawAuthorityRequest", .fields = withdraw_fields
};

static struct core
core_of(const struct request *r)
{
    return (struct core) { r->db, r->ctx->seal, r->actor, r->actor_type };
}

bool
authority_create(struct request *r)
{
    const struct core    core = core_of(r);
    CLEANUP(mem) char   *id = NULL;
    const json_t        *days;
    char                 text[16];

    if (!resource_check_optional(r, fields)) {
        return false;
    }

    days = json_object_get(r->body, "overlap_days");
    snprintf(text, sizeof(text), "%d", (int) json_integer_value(days));

    return fleet_rotate(&core, json_is_integer(days) ? text : NULL, &id, &r->err)
           && resource_reply(r, &authority_resource, id, 201);
}

bool
authority_use(struct request *r)
{
    const struct core  core = core_of(r);

    return fleet_use(&core, r->args[0], &r->err)
           && resource_reply(r, &authority_resource, r->args[0], 200);
}

bool
authority_withdraw(struct request *r)
{
    const struct core  core = core_of(r);

    return resource_check_optional(r, withdraw_fields)
           && fleet_withdraw(&core, r->args[0],
                             json_is_true(json_object_get(r->body, "force")), &r->err)
           && resource_reply(r, &authority_resource, r->args[0], 200);
}
