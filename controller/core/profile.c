/* What may be ordered: rules of names, keys and usages; and what was issued. */
#include "profile.h"

#include "certificate_name.h"
#include "field.h"
#include "ossl.h"
#include "sql_name.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

enum { NAMES, RULE, RESERVED, RULES };
enum { PROFILE, EKUS, MAX_TTL_SECONDS, MUST_STAPLE };

static const char *
member(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* The first pattern that fits; undecided is what the caller has to take for sure. */
static const char *
first_match(const json_t *patterns, const char *name, enum field_match undecided)
{
    size_t            i;
    json_t           *item;
    enum field_match  match;

    json_array_foreach((json_t *) patterns, i, item) {
        match = field_match(json_string_value(item), name, strlen(name));
        match = match == FIELD_UNDECIDED ? undecided : match;

        if (match == FIELD_MATCHES) {
            return json_string_value(item);
        }
    }

    return NULL;
}

/* A pattern that gives no answer neither allows a name nor lets it pass. */
static bool
name_fits(const json_t *rule, const char *name, struct error *err)
{
    const json_t  *allowed = json_object_get(rule, "allowed");
    const char    *denied = first_match(json_object_get(rule, "denied"), name, FIELD_MATCHES);

    if (denied) {
        return error_set(err, ERR_INVALID, "%s matches \"%.80s\" of denied_san_patterns of %s",
                         name, denied, member(rule, "owner"));
    }

    return json_array_size(allowed) == 0 || first_match(allowed, name, FIELD_DIFFERS)
           || error_set(err, ERR_INVALID, "%s matches none of %s of %s", name,
                        member(rule, "allowed_field"), member(rule, "owner"));
}

static bool
name_allowed(const json_t *rules, bool reserved, const char *name, struct error *err)
{
    const char  *what = reserved ? NULL : certificate_name_reserved(name);
    size_t       i;
    json_t      *rule;

    if (what) {
        return error_set(err, ERR_INVALID, "%s is %s: no host has it; only a profile with "
                         "allow_reserved_names allows it", name, what);
    }

    json_array_foreach((json_t *) rules, i, rule) {
        if (!name_fits(rule, name, err)) {
            return false;
        }
    }

    return true;
}

/* Names that a host was found with have not been checked when they were sent. */
static bool
name_judge(const json_t *rules, bool reserved, const char *text, struct error *err)
{
    char  name[300];

    if (!certificate_name_check(text, err)) {
        return error_prefix(err, "%.100s", text);
    }

    snprintf(name, sizeof(name), "%s", text);

    for (char *p = name; *p; p++) {
        *p = *p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p;
    }

    return name_allowed(rules, reserved, name, err);
}

static bool
names_allowed(const PGresult *row, struct error *err)
{
    CLEANUP(json_ref) json_t  *names = json_loads(PQgetvalue(row, 0, NAMES), 0, NULL);
    CLEANUP(json_ref) json_t  *rules = json_loads(PQgetvalue(row, 0, RULES), 0, NULL);
    bool                       reserved = *PQgetvalue(row, 0, RESERVED) == 't';
    size_t                     i;
    json_t                    *name;

    json_array_foreach(names, i, name) {
        if (name_judge(rules, reserved, json_string_value(name), err)) {
            continue;
        }

        if (i == 0) {
            snprintf(err->pointer, sizeof(err->pointer), "/common_name");
        } else {
            snprintf(err->pointer, sizeof(err->pointer), "/sans/%zu", i - 1);
        }

        return false;
    }

    return (names && rules) || error_set(err, ERR_INTERNAL, "out of memory");
}

bool
profile_allows(const struct core *c, const char *certificate_id, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = DB_EXEC(c->db, err, SQL_NAME_RULES, certificate_id);

    if (row == NULL) {
        return false;
    }

    if (PQntuples(row) == 0) {
        return error_set(err, ERR_NOT_FOUND, "there is no certificate %s", certificate_id);
    }

    return PQgetisnull(row, 0, RULE) ? names_allowed(row, err)
           : error_set(err, ERR_INVALID, "%s", PQgetvalue(row, 0, RULE));
}

static bool
usage_allowed(const json_t *ekus, const char *usage)
{
    size_t   i;
    json_t  *eku;

    json_array_foreach((json_t *) ekus, i, eku) {
        if (strcmp(json_string_value(eku), usage) == 0) {
            return true;
        }
    }

    return false;
}

/* RFC 5280 4.2.1.12: without the extension a certificate is for every usage. */
static bool
usages_allowed(const PGresult *row, X509 *leaf, struct error *err)
{
    CLEANUP(json_ref) json_t  *ekus = json_loads(PQgetvalue(row, 0, EKUS), 0, NULL);
    EXTENDED_KEY_USAGE        *usages;
    const char                *name = "anyExtendedKeyUsage";
    int                        i, n;

    usages = X509_get_ext_d2i(leaf, NID_ext_key_usage, NULL, NULL);
    n = sk_ASN1_OBJECT_num(usages);

    for (i = 0; i < n; i++) {
        name = OBJ_nid2sn(OBJ_obj2nid(sk_ASN1_OBJECT_value(usages, i)));

        if (!usage_allowed(ekus, name)) {
            break;
        }
    }

    EXTENDED_KEY_USAGE_free(usages);
    ERR_clear_error();

    return (n > 0 && i == n)
           || error_set(err, ERR_INVALID, "the CA's certificate is for the extended key usage %s, "
                        "which profile %s does not allow", name, PQgetvalue(row, 0, PROFILE));
}

/* notAfter belongs to the validity (RFC 5280 4.1.2.5). */
static bool
bounds_kept(const PGresult *row, const struct certctl_x509_info *info, struct error *err)
{
    long long  most = strtoll(PQgetvalue(row, 0, MAX_TTL_SECONDS), NULL, 10);
    long long  life = (long long) (info->not_after - info->not_before + 1);

    if (life > most) {
        return error_set(err, ERR_INVALID, "the CA's certificate is valid for %lld seconds: "
                         "profile %s allows %lld", life, PQgetvalue(row, 0, PROFILE), most);
    }

    return *PQgetvalue(row, 0, MUST_STAPLE) != 't' || info->must_staple
           || error_set(err, ERR_INVALID, "the CA's certificate lacks the feature status_request "
                        "(RFC 7633), which profile %s asks for", PQgetvalue(row, 0, PROFILE));
}

static X509 *
first_certificate(const char *pem)
{
    BIO   *bio = BIO_new_mem_buf(pem, -1);
    X509  *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

    BIO_free(bio);

    return cert;
}

bool
profile_allows_issued(const struct core *c, const char *order_id,
    const char *chain_pem, const struct certctl_x509_info *info, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = DB_EXEC(c->db, err, SQL_NAME_PROFILE_BOUNDS, order_id);
    CLEANUP(x509) X509          *leaf = first_certificate(chain_pem);

    if (row == NULL || PQntuples(row) == 0) {
        return row != NULL;
    }

    return leaf ? usages_allowed(row, leaf, err) && bounds_kept(row, info, err)
           : error_set_ossl(err, ERR_INTERNAL, "certificate");
}
