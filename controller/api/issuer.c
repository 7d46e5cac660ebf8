/* Issuers: core/ checks their configuration and seals its secrets. */
#include "api.h"
#include "conf.h"
#include "issuer.h"
#include "issuer_test.h"
#include "issuers.h"
#include "resource_fields.h"

#include <string.h>

static const struct field  fields[] = {
    FIELD_ID,
    FIELD_NAME,
    { "type", T_TEXT, F_REQUIRED | F_FIXED, 1, 40, .kinds = issuer_kinds,
      .help = "connector; letter case is ignored" },
    { "config", T_OBJECT, .kinds = issuer_kinds,
      .help = "as the connector needs it; secret fields are never answered" },
    { "enabled", T_BOOL, .init = "true", .help = "may issue" },
    FIELD_READ("source", T_TEXT, "who made it"),
    FIELD_READ("last_tested_at", T_TIME, "last test"),
    FIELD_READ("paused_until", T_TIME, "until then nothing is sent to the CA, as it asked"),
    FIELD_READ("pause_reason", T_TEXT, "what it said"),
    FIELD_STATE("test_status", "success failed", "its result"),
    FIELD_CREATED_AT,
    FIELD_UPDATED_AT,
    { 0 }
};

static const struct filter  filters[] = {
    { "type", "type", OP_EQ }, { "enabled", "enabled", OP_EQ }, { 0 }
};

static const struct sort  sorts[] = { SORT_NAMES, { 0 } };

const struct resource  issuer_resource = {
    .name = "issuer", .category = AUDIT_CONFIG, .table = "issuers",
    .schema = "Issuer", .fields = fields, .view = "api_issuers",
    .filters = filters, .sorts = sorts
};

static const struct field  steps[] = {
    FIELD_READ("step", T_TEXT, "what was tried"),
    FIELD_READ("ok", T_BOOL, "it works"),
    FIELD_READ("detail", T_TEXT, "why it does not work, or what is to be known even so"),
    { 0 }
};

static const struct field  test_fields[] = {
    FIELD_STATE("status", "success failed", "whether everything works"),
    FIELD_READ("message", T_TEXT, "the first fault"),
    FIELD_READ("tested_at", T_TIME, "when"),
    { "steps", T_ROWS, F_READ, .of = steps, .help = "what was tried, up to the first fault" },
    { 0 }
};

const struct resource  issuer_test_resource = {
    .name = "issuer", .category = AUDIT_CONFIG, .schema = "IssuerTestResponse",
    .request = "IssuerTestRequest", .fields = test_fields
};

/* Which of config's fields were given, not what they hold. */
static json_t *
issuer_details(const json_t *body)
{
    json_t      *details = json_deep_copy(body), *names = json_array();
    json_t      *value;
    const char  *name;

    json_object_foreach(json_object_get(body, "config"), name, value) {
        json_array_append_new(names, json_string(name));
    }

    json_object_del(details, "config");
    json_object_set_new(details, "config_fields", names);

    return details;
}

static bool
issuer_write(struct request *r, const char *id, int status)
{
    const struct core    core = { r->db, r->ctx->seal, r->actor, r->actor_type };
    CLEANUP(mem) char   *stored = NULL;

    r->details = issuer_details(r->body);

    if (!issuers_store(&core, id, r->body, &stored, &r->err)) {
        return false;
    }

    r->subject = strdup(stored);

    return resource_reply(r, &issuer_resource, stored, status);
}

bool
issuer_create(struct request *r)
{
    CLEANUP(mem) char  *taken = NULL;
    const char         *id;

    if (!resource_check(r, fields, NULL)) {
        return false;
    }

    id = json_string_value(json_object_get(r->body, "id"));
    if (id == NULL) {
        return issuer_write(r, NULL, 201);
    }

    taken = resource_text(r, &issuer_resource, id);
    if (taken) {
        return error_set(&r->err, ERR_CONFLICT, "an object of this id exists");
    }

    if (r->err.code != ERR_NOT_FOUND) {
        return false;
    }

    r->err.code = ERR_NONE;

    return issuer_write(r, id, 201);
}

bool
issuer_update(struct request *r)
{
    CLEANUP(json) json_t   *current = resource_current(r, &issuer_resource);
    static const char      *kept[] = { "name", "type", "enabled", NULL };

    if (current == NULL || !resource_check(r, fields, current)) {
        return false;
    }

    for (const char **name = kept; *name; name++) {
        if (json_object_get(r->body, *name) == NULL) {
            json_object_set(r->body, *name, json_object_get(current, *name));
        }
    }

    return issuer_write(r, r->args[0], 200);
}

bool
issuer_test_post(struct request *r)
{
    const struct core             core = { r->db, r->ctx->seal, r->actor, r->actor_type };
    CLEANUP(http_client) struct http_client  *http = NULL;
    CLEANUP(json) json_t         *answer = NULL;

    if (!resource_check_optional(r, test_fields)) {
        return false;
    }

    http = http_client_new(&r->ctx->conf->outgoing, &r->err);

    if (http == NULL || !issuer_test(&core, http, r->args[0], &answer, &r->err)) {
        return false;
    }

    r->details = json_pack("{s:O, s:O}", "status", json_object_get(answer, "status"),
                           "message", json_object_get(answer, "message"));

    return rest_reply_json(r, answer);
}
