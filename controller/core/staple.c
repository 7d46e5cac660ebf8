/* Where staples come from, and the job that keeps them fresh. */
#include "staple.h"

#include "issuers.h"
#include "ossl.h"
#include "sql_core.h"
#include "wire.h"
#include "x509_chain.h"

#include <stdio.h>
#include <string.h>

#define STAPLE_FETCH_MS  10000

CLEANUP_FUNC(json_ref, json_t *, json_decref)

void
staple_free(struct staple *s)
{
    sk_X509_pop_free(s->chain, X509_free);
    OPENSSL_free(s->der);
    *s = (struct staple) { 0 };
}

/* One of our own CAs signs it without a detour over the network. */
static bool
staple_sign(struct work *w, struct staple *s, const char *issuer_id,
    time_t revoked_at, int reason, bool *made, struct error *err)
{
    CLEANUP(json_ref) json_t          *config = NULL;
    CLEANUP(ossl_buf) unsigned char   *der = NULL;
    const struct issuer               *issuer;
    bool                               enabled;
    int                                len;

    issuer = issuers_open(&w->core, issuer_id, &config, &enabled, err);

    if (issuer == NULL) {
        return false;
    }

    *made = issuer->ocsp != NULL;

    if (!*made) {
        return true;
    }

    len = i2d_X509(sk_X509_value(s->chain, 0), &der);

    return len > 0
           ? issuer->ocsp(config, der, len, revoked_at, reason, &s->der, &s->len, err)
           : error_set(err, ERR_INTERNAL, "out of memory");
}

/* RFC 6960 A.1, by POST.  The URL comes from the certificate, so from whoever
 * may install one: whether it may reach into the controller's own network is
 * for the operator to say. */
static bool
staple_fetch(struct work *w, struct staple *s, const char *url, struct error *err)
{
    CLEANUP(http_response) struct http_response  res = { 0 };
    CLEANUP(ossl_buf) unsigned char             *ask = NULL;
    struct http_request                          req = {
        .method = "POST", .url = url,
        .content_type = "application/ocsp-request",
        .total_ms = STAPLE_FETCH_MS, .answer_max = CERTCTL_OCSP_MAX,
        .reach = w->ocsp_private ? HTTP_LOOPBACK : HTTP_PUBLIC,
    };
    int                                          len;

    len = certctl_ocsp_request(sk_X509_value(s->chain, 0),
                               sk_X509_value(s->chain, 1), &ask);
    if (len <= 0) {
        return error_set(err, ERR_INTERNAL, "no OCSP request could be made");
    }

    req.body = ask;
    req.body_len = len;

    if (!http_send(w->http, &req, &res, err)) {
        return false;
    }

    if (res.status != 200 && !res.verified) {
        return error_set(err, ERR_PEER, "the OCSP responder does not answer with an "
                         "OCSP response (RFC 6960 A.2)");
    }

    if (res.status != 200) {
        return error_set(err, ERR_PEER, "the OCSP responder answers %d", res.status);
    }

    s->der = OPENSSL_memdup(res.body, res.body_len);
    s->len = res.body_len;

    return s->der != NULL || error_set(err, ERR_INTERNAL, "out of memory");
}

static bool
staple_obtain(struct work *w, struct staple *s, const char *issuer_id,
    time_t revoked_at, int reason, struct error *err)
{
    X509        *leaf = sk_X509_value(s->chain, 0);
    char         url[512];
    const char  *why;
    bool         made = false;

    certctl_x509_ocsp_url(leaf, url, sizeof(url));

    if (*url == '\0') {
        return error_set(err, ERR_NOT_FOUND, "the certificate names no OCSP responder");
    }

    if (sk_X509_num(s->chain) < 2) {
        return error_set(err, ERR_INVALID, "the issuer's certificate is missing in the "
                         "served chain, without it no OCSP response can be checked");
    }

    if (issuer_id && !staple_sign(w, s, issuer_id, revoked_at, reason, &made, err)) {
        return false;
    }

    if (!made && !staple_fetch(w, s, url, err)) {
        return false;
    }

    why = certctl_ocsp_check_staple(s->der, s->len, leaf, s->chain, time(NULL), &s->info);

    /* the host is to know, and to staple the good one of before no longer */
    if (s->info.answers && s->info.status == CERTCTL_OCSP_REVOKED) {
        why = NULL;
    }

    return why == NULL || error_set(err, ERR_PEER, "the OCSP response: %s", why);
}

bool
staple_get(struct work *w, const char *chain_pem, const char *issuer_id,
    time_t revoked_at, int reason, struct staple *ret, struct error *err)
{
    struct staple  s = { 0 };
    const char    *why = NULL;

    s.chain = certctl_chain_from_pem(chain_pem, strlen(chain_pem), &why);
    if (s.chain) {
        why = certctl_x509_info(sk_X509_value(s.chain, 0), &s.leaf);
    }

    if (why ? !error_set(err, ERR_PEER, "%s", why)
        : !staple_obtain(w, &s, issuer_id, revoked_at, reason, err))
    {
        staple_free(&s);
        return false;
    }

    *ret = s;

    return true;
}

bool
staple_record(struct work *w, const char *agent_id,
    const struct staple *staple, struct error *err)
{
    char  from[24], until[24];

    snprintf(from, sizeof(from), "%lld", (long long) staple->info.this_update);
    snprintf(until, sizeof(until), "%lld", (long long) staple->info.next_update);

    return DB_RUN(w->core.db, err, SQL_STAPLE_PUSHED, agent_id,
                  staple->leaf.fingerprint, from, until);
}

enum { PEM, URL, ISSUER, SERIAL, REVOKED, REASON };

enum work_result
staple_run(struct work *w, struct error *err)
{
    CLEANUP(agent_row) struct agent_row  agent = { 0 };
    CLEANUP(pgresult) PGresult          *row = NULL;
    CLEANUP(staple) struct staple        staple = { 0 };
    const char                          *fingerprint;

    fingerprint = json_string_value(json_object_get(w->data, "fingerprint"));
    w->quiet = true;

    row = DB_EXEC(w->core.db, err, SQL_STAPLE_FACTS, w->agent_id, fingerprint);

    if (row == NULL || !link_agent(w, w->agent_id, &agent, err)) {
        return WORK_FAILED;
    }

    if (PQntuples(row) == 0) {
        return WORK_DONE;             /* it is not served any more */
    }

    return staple_get(w, PQgetvalue(row, 0, PEM),
                      PQgetisnull(row, 0, ISSUER) ? NULL : PQgetvalue(row, 0, ISSUER),
                      strtoll(PQgetvalue(row, 0, REVOKED), NULL, 10),
                      (int) strtol(PQgetvalue(row, 0, REASON), NULL, 10), &staple, err)
           && work_alive(w, err)
           && target_find("nginx-module")->staple(&agent.link, staple.leaf.fingerprint,
                                                  staple.der, staple.len, err)
           && staple_record(w, w->agent_id, &staple, err)
           ? WORK_DONE : WORK_FAILED;
}

bool
staple_failed(struct work *w, const char *reason, struct error *err)
{
    return DB_RUN(w->core.db, err, SQL_STAPLE_FAILED, w->agent_id,
                  json_string_value(json_object_get(w->data, "fingerprint")), reason);
}
