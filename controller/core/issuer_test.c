/* Whether an issuer works, tried without ordering anything. */
#include "issuer_test.h"

#include "account.h"
#include "issuers.h"
#include "ossl.h"
#include "sql_order.h"
#include "x509_chain.h"
#include "x509_info.h"

#include <stdio.h>
#include <string.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

/* The first end of the certificates in a PEM text. */
static bool
chain_end(const char *pem, time_t *ret, struct error *err)
{
    struct certctl_x509_info              info;
    const char                           *why = NULL;
    CLEANUP(x509_chain) STACK_OF(X509)   *chain = NULL;

    *ret = 0;
    chain = certctl_chain_from_pem(pem, strlen(pem), &why);

    for (int i = 0; why == NULL && i < sk_X509_num(chain); i++) {
        why = certctl_x509_info(sk_X509_value(chain, i), &info);
        *ret = i == 0 || info.not_after < *ret ? info.not_after : *ret;
    }

    return why == NULL || error_set(err, ERR_INVALID, "the chain of the CA: %s", why);
}

/* Profiles that allow more than the CA has left: certificates end with it. */
static bool
test_profiles(const struct core *c, const struct issuer *issuer,
    const struct issuer_context *ctx, json_t *report, struct error *err)
{
    CLEANUP(mem) char  *pem = NULL, *names = NULL;
    char                seconds[24], detail[300] = "";
    time_t              end;
    bool                ok = issuer->chain(ctx, &pem, err) && chain_end(pem, &end, err);

    if (ok) {
        snprintf(seconds, sizeof(seconds), "%lld", (long long) (end - ctx->now));
        names = DB_VALUE(c->db, err, SQL_ISSUER_TEST_PROFILES, seconds);
        ok = names != NULL;
    }

    if (ok && *names) {
        snprintf(detail, sizeof(detail), "certificates end with the CA, in %lld days, before "
                 "these profiles allow: %s", (long long) (end - ctx->now) / 86400, names);
    }

    issuer_report(report, "chain and profiles", ok ? NULL : err, *detail ? detail : NULL);

    return ok;
}

static bool
test_store(const struct core *c, const char *id, bool ok, const struct error *why,
    json_t *report, json_t **ret, struct error *err)
{
    CLEANUP(mem) char  *at = DB_VALUE(c->db, err, SQL_ISSUER_TESTED, id, ok ? "success" : "failed");

    if (at == NULL) {
        return false;
    }

    *ret = json_pack("{s:s, s:s, s:s, s:O}", "status", ok ? "success" : "failed", "message",
                     ok ? "the issuer works" : why->detail, "tested_at", at, "steps", report);

    return *ret || error_set(err, ERR_INTERNAL, "out of memory");
}

bool
issuer_test(const struct core *c, struct http_client *http,
    const char *issuer_id, json_t **ret, struct error *err)
{
    CLEANUP(json_ref) json_t  *config = NULL, *account = NULL, *report = json_array();
    struct issuer_context      ctx = { .http = http, .now = time(NULL) };
    struct error               why = { 0 };
    bool                       enabled, ok;
    const struct issuer       *issuer = issuers_open(c, issuer_id, &config, &enabled, err);

    if (issuer == NULL || !account_load(c, issuer_id, &account, err)) {
        return false;
    }

    if (issuer->test == NULL) {
        return error_set(err, ERR_UNSUPPORTED, "issuers of type %s have no test",
                         issuer->kind.name);
    }

    ctx.config = config;
    ctx.account = account;
    ok = issuer->test(&ctx, report, &why)
         && (issuer->chain == NULL || test_profiles(c, issuer, &ctx, report, &why));

    return test_store(c, issuer_id, ok, &why, report, ret, err);
}
