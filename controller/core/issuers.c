/* Between issuer rows and connectors: fields checked, secrets sealed and opened. */
#include "issuers.h"

#include <stdio.h>
#include <string.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

static void
issuer_context(char *out, size_t size, const char *id)
{
    snprintf(out, size, "issuers.secrets.%s", id);
}

static const struct issuer_field *
issuer_field(const struct issuer *issuer, const char *name)
{
    for (const struct issuer_field *f = issuer->fields; f->name; f++) {
        if (strcmp(f->name, name) == 0) {
            return f;
        }
    }

    return NULL;
}

const struct issuer *
issuers_open(const struct core *c, const char *issuer_id, json_t **config,
    bool *enabled, struct error *err)
{
    CLEANUP(pgresult) PGresult   *row = NULL;
    CLEANUP(secret) char         *secrets = NULL;
    CLEANUP(json_ref) json_t     *all = NULL, *hidden = NULL;
    const struct issuer          *issuer;
    char                          context[160];

    row = DB_EXEC(c->db, err, SQL_ISSUER_LOAD, issuer_id);
    if (row == NULL) {
        return NULL;
    }

    if (PQntuples(row) == 0) {
        error_set(err, ERR_NOT_FOUND, "there is no issuer %s", issuer_id);
        return NULL;
    }

    issuer = issuer_find(PQgetvalue(row, 0, 0));

    if (issuer == NULL) {
        error_set(err, ERR_INVALID, "issuer %s is of a type that this version lacks",
                  issuer_id);
        return NULL;
    }

    all = json_loads(PQgetvalue(row, 0, 1), 0, NULL);

    if (!PQgetisnull(row, 0, 2)) {
        issuer_context(context, sizeof(context), issuer_id);
        secrets = unseal_text(c->seal, context, PQgetvalue(row, 0, 2), err);
        if (secrets == NULL) {
            return NULL;
        }
        hidden = json_loads(secrets, 0, NULL);
    }

    if (all == NULL || (hidden && json_object_update(all, hidden) != 0)) {
        error_set(err, ERR_INTERNAL, "issuer %s: its configuration is damaged",
                  issuer_id);
        return NULL;
    }

    *config = TAKE(all);
    *enabled = strcmp(PQgetvalue(row, 0, 3), "t") == 0;

    return issuer;
}

const struct issuer *
issuers_load(const struct core *c, const char *issuer_id, json_t **config,
    struct error *err)
{
    CLEANUP(json_ref) json_t  *all = NULL;
    bool                       enabled;
    const struct issuer       *issuer = issuers_open(c, issuer_id, &all, &enabled,
                                                     err);

    if (issuer && !enabled) {
        error_set(err, ERR_INVALID, "issuer %s is disabled", issuer_id);
        return NULL;
    }

    if (issuer) {
        *config = TAKE(all);
    }

    return issuer;
}

static bool
issuer_check_fields(const struct issuer *issuer, const json_t *config,
    struct error *err)
{
    const struct issuer_field  *f;
    const char                 *name;
    json_t                     *value;

    json_object_foreach((json_t *) config, name, value) {
        f = issuer_field(issuer, name);

        if (f == NULL) {
            return error_set(err, ERR_MALFORMED, "config: issuers of type %s have no "
                             "field \"%.60s\"", issuer->type, name);
        }

        if (json_typeof(value) != f->type
            && !(f->type == JSON_TRUE && json_is_boolean(value)))
        {
            return error_set(err, ERR_MALFORMED, "config: \"%s\" has a wrong type: %s",
                             name, f->help);
        }
    }

    for (f = issuer->fields; f->name; f++) {
        if ((f->flags & ISSUER_F_REQUIRED) && !json_object_get(config, f->name)) {
            return error_set(err, ERR_MALFORMED, "config: \"%s\" is required: %s",
                             f->name, f->help);
        }
    }

    return true;
}

/* Moves secret fields out of config into a sealed text. */
static bool
issuer_seal(const struct core *c, const struct issuer *issuer, const char *id,
    json_t *config, char **sealed, struct error *err)
{
    CLEANUP(json_ref) json_t  *hidden = json_object();
    CLEANUP(secret) char      *text = NULL;
    json_t                    *value;
    char                       context[160];

    for (const struct issuer_field *f = issuer->fields; f->name; f++) {
        value = json_object_get(config, f->name);
        if (value && (f->flags & ISSUER_F_SECRET)) {
            json_object_set(hidden, f->name, value);
            json_object_del(config, f->name);
        }
    }

    text = json_dumps(hidden, JSON_COMPACT);
    if (text == NULL) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    issuer_context(context, sizeof(context), id);
    *sealed = seal_text(c->seal, context, text, err);

    return *sealed != NULL;
}

/* An update keeps what it does not name, secrets included. */
static bool
issuer_merge(const struct core *c, const char *id, const json_t *given,
    json_t **config, struct error *err)
{
    struct error               ignored = { 0 };
    CLEANUP(json_ref) json_t  *old = NULL;
    bool                       enabled;

    if (id && issuers_open(c, id, &old, &enabled, &ignored) == NULL
        && ignored.code != ERR_NOT_FOUND)
    {
        *err = ignored;
        return false;
    }

    *config = old ? TAKE(old) : json_object();

    return *config && (given == NULL || json_object_update(*config, (json_t *) given) == 0);
}

bool
issuers_store(const struct core *c, const char *id, const json_t *body,
    char **id_out, struct error *err)
{
    CLEANUP(json_ref) json_t  *config = NULL;
    CLEANUP(mem) char         *sealed = NULL, *text = NULL, *fresh = NULL;
    const char                *type = json_string_value(json_object_get(body, "type"));
    const char                *name = json_string_value(json_object_get(body, "name"));
    const char                *source = json_string_value(json_object_get(body, "source"));
    const json_t              *given = json_object_get(body, "config");
    const json_t              *enabled = json_object_get(body, "enabled");
    const struct issuer       *issuer = type ? issuer_find(type) : NULL;

    if (issuer == NULL) {
        return error_set(err, ERR_INVALID, "type \"%.40s\" is no issuer type of this "
                         "version", type ? type : "");
    }

    if (name == NULL) {
        return error_set(err, ERR_MALFORMED, "name is required");
    }

    /* The id is part of what seals the secrets, so it is needed beforehand. */
    if (id == NULL) {
        fresh = DB_VALUE(c->db, err, SQL_NEW_ID, "iss-");
        if (fresh == NULL) {
            return false;
        }
        id = fresh;
    }

    if ((given && !json_is_object(given))
        || !issuer_merge(c, id, given, &config, err)
        || !issuer_check_fields(issuer, config, err)
        || !issuer->prepare(config, err)
        || !issuer_seal(c, issuer, id, config, &sealed, err))
    {
        return err->code ? false
               : error_set(err, ERR_MALFORMED, "config must be an object");
    }

    text = json_dumps(config, JSON_COMPACT);
    *id_out = text ? DB_VALUE(c->db, err, SQL_ISSUER_STORE, id, name, issuer->type, text,
                              sealed, json_is_false(enabled) ? "false" : "true", source)
                   : NULL;

    return *id_out != NULL;
}

/* A URL of this CA's own, below pki_url. */
static void
local_url(char *out, size_t size, const char *pki_url, const char *what)
{
    snprintf(out, size, "%s/.well-known/pki/%s/iss-local", pki_url, what);
}

bool
issuers_ensure_local(const struct core *c, const char *pki_url,
    struct error *err)
{
    CLEANUP(json_ref) json_t    *body = NULL;
    CLEANUP(mem) char           *id = NULL;
    CLEANUP(pgresult) PGresult  *row = NULL;
    char                         ocsp[400], crl[400], ca[400];

    row = DB_EXEC(c->db, err, SQL_ISSUER_EXISTS, "iss-local");

    if (row == NULL || PQntuples(row)) {
        return row != NULL;
    }

    local_url(ocsp, sizeof(ocsp), pki_url, "ocsp");
    local_url(crl, sizeof(crl), pki_url, "crl");
    local_url(ca, sizeof(ca), pki_url, "ca");

    body = *pki_url
           ? json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:s}}", "type", "local",
                       "name", "Local CA", "source", "builtin", "config",
                       "ocsp_url", ocsp, "crl_url", crl, "ca_issuers_url", ca)
           : json_pack("{s:s, s:s, s:s}", "type", "local", "name", "Local CA",
                       "source", "builtin");

    return issuers_store(c, "iss-local", body, &id, err);
}

static bool
issuer_refresh(const struct core *c, const char *id, const char *name,
    struct error *err)
{
    CLEANUP(json_ref) json_t  *config = NULL, *before = NULL, *body = NULL;
    CLEANUP(mem) char         *stored = NULL;
    const struct issuer       *issuer = issuers_load(c, id, &config, err);

    if (issuer == NULL) {
        return false;
    }

    before = json_deep_copy(config);

    if (!issuer->prepare(config, err)) {
        return error_prefix(err, "issuer %s", id);
    }

    if (json_equal(before, config)) {
        return true;
    }

    body = json_pack("{s:s, s:s, s:O}", "type", issuer->type, "name", name,
                     "config", config);

    return issuers_store(c, id, body, &stored, err);
}

bool
issuers_refresh(const struct core *c, struct error *err)
{
    CLEANUP(pgresult) PGresult  *rows = DB_EXEC(c->db, err, SQL_ISSUER_ENABLED);
    bool                         ok = rows != NULL;

    for (int i = 0; i < PQntuples(rows); i++) {
        ok &= issuer_refresh(c, PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1), err);
    }

    return ok;
}
