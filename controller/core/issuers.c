/* Between issuer rows and connectors: fields checked, secrets sealed and opened. */
#include "issuers.h"
#include "sql_core.h"

#include <stdio.h>
#include <string.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

static void
issuer_context(char *out, size_t size, const char *id)
{
    snprintf(out, size, "issuers.secrets.%s", id);
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
        error_not_found(err, "issuer", issuer_id);
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

/* The whole configuration, with what the connector has made for itself. */
static bool
issuer_check_fields(const struct issuer *issuer, const json_t *config,
    struct error *err)
{
    CLEANUP(json_ref) json_t  *faults = json_array();

    return field_check_member("config", issuer->kind.fields, config, NULL, FIELD_STORED, faults)
           || field_error(faults, err);
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

    for (const struct field *f = issuer->kind.fields; f->name; f++) {
        value = json_object_get(config, f->name);
        if (value && (f->flags & F_SECRET)) {
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

/*
 * The configuration that given makes of the old one.  given is complete but for
 * the secrets, which nobody can read: those that it does not name stay, null
 * takes one away.
 */
static bool
issuer_merge(const struct core *c, const char *id, const struct issuer *issuer,
    const json_t *given, json_t **config, struct error *err)
{
    struct error               ignored = { 0 };
    CLEANUP(json_ref) json_t  *old = NULL;
    json_t                    *value;
    bool                       enabled;

    if (issuers_open(c, id, &old, &enabled, &ignored) == NULL
        && ignored.code != ERR_NOT_FOUND)
    {
        *err = ignored;
        return false;
    }

    if (given == NULL) {
        *config = old ? TAKE(old) : json_object();
        return true;
    }

    *config = json_copy((json_t *) given);

    for (const struct field *f = issuer->kind.fields; f->name; f++) {
        value = json_object_get(given, f->name);

        if ((f->flags & F_SECRET) && (value == NULL || json_is_null(value))) {
            json_object_del(*config, f->name);

            if (value == NULL && json_object_get(old, f->name)) {
                json_object_set(*config, f->name, json_object_get(old, f->name));
            }
        }
    }

    return true;
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

    if (issuer == NULL || name == NULL) {
        return error_set(err, ERR_INTERNAL, "an issuer needs a type and a name");
    }

    /* The id is part of what seals the secrets, so it is needed beforehand. */
    if (id == NULL) {
        fresh = DB_VALUE(c->db, err, SQL_NEW_ID, "iss-");
        if (fresh == NULL) {
            return false;
        }
        id = fresh;
    }

    if (!issuer_merge(c, id, issuer, given, &config, err)
        || !issuer_check_fields(issuer, config, err)
        || !issuer->prepare(config, err)
        || !issuer_seal(c, issuer, id, config, &sealed, err))
    {
        return false;
    }

    text = json_dumps(config, JSON_COMPACT);
    *id_out = text ? DB_VALUE(c->db, err, SQL_ISSUER_STORE, id, name, issuer->kind.name, text,
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

/* What a connector has made anew; with the row that tells it, or not at all. */
static bool
issuer_refreshed(const struct core *c, const char *id, const json_t *body,
    const json_t *before, struct error *err)
{
    CLEANUP(db_tx) struct db  *tx = NULL;
    CLEANUP(mem) char         *stored = NULL;
    CLEANUP(json_ref) json_t  *details = NULL;
    json_t                    *names = json_array(), *value;
    const char                *name;

    json_object_foreach(json_object_get(body, "config"), name, value) {
        if (!json_equal(value, json_object_get(before, name))) {
            json_array_append_new(names, json_string(name));
        }
    }

    details = json_pack("{s:o}", "fields", names);

    if (!db_begin(c->db, err)) {
        return false;
    }

    tx = c->db;

    return issuers_store(c, id, body, &stored, err)
           && audit_write(c, AUDIT_CONFIG, "issuer_refreshed", "issuer", id, details, err)
           && db_commit(tx, err);
}

static bool
issuer_refresh(const struct core *c, const char *id, const char *name,
    struct error *err)
{
    CLEANUP(json_ref) json_t  *config = NULL, *before = NULL, *body = NULL;
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

    body = json_pack("{s:s, s:s, s:O}", "type", issuer->kind.name, "name", name,
                     "config", config);

    return issuer_refreshed(c, id, body, before, err);
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
