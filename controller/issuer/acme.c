/* Issuer "acme": a CA that speaks RFC 8555. */
#include "acme.h"

#include "jose.h"
#include "ossl.h"
#include "x509_chain.h"

#include <openssl/crypto.h>
#include <string.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

/* What an order cannot do without (RFC 8555 7.1.1). */
static const char *const  needed[] = { "newNonce", "newAccount", "newOrder" };

json_t *
acme_directory(struct acme *acme, struct error *err)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    const char                              *url = acme_text(acme->ctx->config, "directory_url");

    if (!acme_get(acme, url, &answer, err)) {
        error_prefix(err, "directory");
        return NULL;
    }

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (acme_string(answer.body, needed[i]) == NULL) {
            error_set(err, ERR_PEER, "RFC 8555 7.1.1: directory_url is not the directory of "
                      "an ACME server: it lacks %s", needed[i]);
            return NULL;
        }
    }

    return json_incref(answer.body);
}

/* RFC 8555 7.3.4: the account's key, signed with the key that the CA has given. */
static json_t *
account_binding(const struct acme *acme, const char *url, struct error *err)
{
    const json_t              *config = acme->ctx->config;
    CLEANUP(json_ref) json_t  *jwk = jose_jwk(acme->key);
    CLEANUP(mem) char         *text = jwk ? json_dumps(jwk, JSON_COMPACT) : NULL;
    unsigned char             *secret;
    size_t                     len = 0;
    json_t                    *ret = NULL;

    secret = jose_decode(acme_text(config, "eab_hmac"), &len);

    if (secret == NULL || len == 0) {
        error_set(err, ERR_INVALID, "eab_hmac is not base64url");
    } else if (text == NULL) {
        error_set(err, ERR_INTERNAL, "out of memory");
    } else {
        ret = jose_mac(secret, len, json_pack("{s:s, s:s}", "kid",
                                              acme_text(config, "eab_kid"), "url", url),
                       text, err);
    }

    OPENSSL_clear_free(secret, len);

    return ret;
}

bool
acme_register(struct acme *acme, bool only_existing, struct acme_answer *ret,
    struct error *err)
{
    const json_t  *config = acme->ctx->config;
    const char    *url = acme_string(acme->directory, "newAccount");
    const char    *email = acme_text(config, "email");
    json_t        *payload, *binding;

    payload = only_existing ? json_pack("{s:b}", "onlyReturnExisting", 1)
                            : json_pack("{s:b}", "termsOfServiceAgreed", 1);

    if (!only_existing && *email) {
        json_object_set_new(payload, "contact", json_pack("[s+]", "mailto:", email));
    }

    if (!only_existing && *acme_text(config, "eab_kid")) {
        binding = account_binding(acme, url, err);

        if (binding == NULL) {
            json_decref(payload);
            return false;
        }

        json_object_set_new(payload, "externalAccountBinding", binding);
    }

    acme->account_url = NULL;

    if (!acme_post(acme, url, payload, ret, err)) {
        return error_prefix(err, "account");
    }

    return http_header(&ret->http, "Location") != NULL
           || error_set(err, ERR_PEER, "RFC 8555 7.3: the answer to newAccount has no Location");
}

/* The leaf of a chain, DER in base64url; free() it. */
static char *
leaf_text(const char *chain_pem, struct error *err)
{
    const char                            *why = NULL;
    CLEANUP(x509_chain) STACK_OF(X509)    *chain = NULL;
    CLEANUP(ossl_buf) unsigned char       *der = NULL;
    int                                    len;

    chain = certctl_chain_from_pem(chain_pem, strlen(chain_pem), &why);
    len = chain ? i2d_X509(sk_X509_value(chain, 0), &der) : -1;

    if (len <= 0) {
        error_set(err, ERR_INVALID, "the certificate to revoke: %s", why ? why : "no DER");
        return NULL;
    }

    return jose_encode(der, (size_t) len);
}

static bool
problem_is(const struct acme *acme, const char *type)
{
    const char  *have = strrchr(acme_text(acme->problem, "type"), ':');

    return have && strcmp(have + 1, type) == 0;
}

/* RFC 8555 7.6, signed with the account; a CA that takes no such reason gets none. */
static bool
acme_revoke(const struct issuer_context *ctx, const struct issuer_certificate *cert,
    int reason, struct error *err)
{
    CLEANUP(acme) struct acme                acme = { 0 };
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    CLEANUP(json_ref) json_t                *directory = NULL;
    CLEANUP(mem) char                       *text = leaf_text(cert->chain_pem, err);
    const char                              *url;

    if (text == NULL || !acme_open(&acme, ctx, err)
        || (directory = acme_directory(&acme, err)) == NULL)
    {
        return false;
    }

    acme.directory = directory;
    url = acme_string(directory, "revokeCert");

    if (acme.account_url == NULL || url == NULL) {
        return error_set(err, ERR_INVALID, acme.account_url
                         ? "the CA offers no revocation (RFC 8555 7.6)"
                         : "there is no account at this CA that could revoke");
    }

    if (acme_post(&acme, url, json_pack("{s:s, s:i}", "certificate", text, "reason", reason),
                  &answer, err) || problem_is(&acme, "alreadyRevoked"))
    {
        return true;
    }

    return problem_is(&acme, "badRevocationReason")
           && (acme_post(&acme, url, json_pack("{s:s}", "certificate", text), &answer, err)
               || problem_is(&acme, "alreadyRevoked"));
}

/* The directory, and the account if there is one: nothing is registered. */
static bool
acme_test(const struct issuer_context *ctx, json_t *report, struct error *err)
{
    CLEANUP(acme) struct acme                acme = { 0 };
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    CLEANUP(json_ref) json_t                *directory = NULL;
    const json_t                            *meta;

    if (acme_open(&acme, ctx, err)) {
        directory = acme_directory(&acme, err);
    }

    issuer_report(report, "directory", directory ? NULL : err, NULL);

    if (directory == NULL) {
        return false;
    }

    acme.directory = directory;
    meta = json_object_get(directory, "meta");

    if (json_is_true(json_object_get(meta, "externalAccountRequired"))
        && !*acme_text(ctx->config, "eab_kid"))
    {
        error_set(err, ERR_INVALID, "this CA requires eab_kid and eab_hmac (RFC 8555 7.3.4)");
        issuer_report(report, "external account binding", err, NULL);
        return false;
    }

    if (acme.account_url == NULL) {
        issuer_report(report, "account", NULL, "is registered with the first order");
        return true;
    }

    if (!acme_register(&acme, true, &answer, err)) {
        issuer_report(report, "account", err, NULL);
        return false;
    }

    issuer_report(report, "account", NULL, http_header(&answer.http, "Location"));

    return true;
}

static const char *const  aliases[] = { "letsencrypt", "lets-encrypt", NULL };

const struct issuer issuer_acme = {
    .kind    = {
        "acme", aliases, "AcmeConfig", "a CA that speaks ACME (RFC 8555)", acme_fields
    },
    .prepare = acme_prepare,
    .step    = acme_step,
    .revoke  = acme_revoke,
    .test    = acme_test
};
