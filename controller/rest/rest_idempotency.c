/* The row of an Idempotency-Key is written in the transaction of its request, so
 * that there is an answer exactly when there is what it tells of. */
#include "rest_idempotency.h"
#include "rest_auth.h"
#include "sql_idempotency.h"

#include <event2/buffer.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define KEY_MAX  255

static const char *
key_of(const struct request *r)
{
    return strcmp(r->method, "POST") == 0 ? rest_request_header(r, "Idempotency-Key")
                                          : NULL;
}

static const char *
principal_of(const struct request *r)
{
    const char  *id = auth_key_id(r);

    return id && *id ? id : r->actor;
}

static bool
key_is_good(const char *key)
{
    size_t  n = 0;

    while (key[n] > ' ' && key[n] < 0x7f) {
        n++;
    }

    return n > 0 && n <= KEY_MAX && key[n] == '\0';
}

/* What seals an answer to its row; context holds SEAL_CONTEXT bytes. */
#define SEAL_CONTEXT  (KEY_MAX + 200)

static const char *
seal_context(const struct request *r, const char *key, char *context)
{
    snprintf(context, SEAL_CONTEXT, "idempotency_keys.answer.%.120s.%s", principal_of(r), key);

    return context;
}

/* Each text with its NUL, so that no two requests have one digest. */
static bool
request_digest(const struct request *r, char hex[65])
{
    EVP_MD_CTX     *ctx = EVP_MD_CTX_new();
    unsigned char   digest[32];
    bool            ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL)
                         && EVP_DigestUpdate(ctx, r->path, strlen(r->path) + 1);

    for (const struct query_arg *arg = r->query; ok && arg->name; arg++) {
        ok = EVP_DigestUpdate(ctx, arg->name, strlen(arg->name) + 1)
             && EVP_DigestUpdate(ctx, arg->value, strlen(arg->value) + 1);
    }

    ok = ok && EVP_DigestUpdate(ctx, r->raw ? r->raw : (const void *) "", r->raw_len)
         && EVP_DigestFinal_ex(ctx, digest, NULL);
    EVP_MD_CTX_free(ctx);

    for (size_t i = 0; ok && i < sizeof(digest); i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }

    return ok;
}

static bool
answer_again(struct request *r, const char *key, const char *digest)
{
    CLEANUP(pgresult) PGresult  *row = NULL;
    CLEANUP(secret) char        *answer = NULL;
    char                         context[SEAL_CONTEXT];

    row = DB_EXEC(r->db, &r->err, SQL_IDEMPOTENCY_KNOWN, principal_of(r), key);
    if (row == NULL) {
        return false;
    }

    if (PQntuples(row) == 0) {
        return error_set(&r->err, ERR_UNAVAILABLE, "the request of this Idempotency-Key "
                         "has just ended: send it again");
    }

    if (strcmp(PQgetvalue(row, 0, 0), digest) != 0) {
        return error_set(&r->err, ERR_INVALID, "this Idempotency-Key came with another "
                         "request within 24 hours");
    }

    answer = unseal_text(r->ctx->seal, seal_context(r, key, context),
                         PQgetvalue(row, 0, 3), &r->err);
    if (answer == NULL) {
        return false;
    }

    if (!PQgetisnull(row, 0, 2)) {
        rest_header(r, "Location", PQgetvalue(row, 0, 2));
    }

    rest_header(r, "Idempotent-Replayed", "true");
    rest_header(r, "Cache-Control", "no-store");
    r->status = (int) strtol(PQgetvalue(row, 0, 1), NULL, 10);

    return rest_reply_text(r, answer, strlen(answer));
}

bool
idempotency_begin(struct request *r, bool *ret_known)
{
    CLEANUP(mem) char  *inserted = NULL;
    const char         *key = key_of(r);
    char                digest[65];

    *ret_known = false;

    if (key == NULL) {
        return true;
    }

    if (!key_is_good(key)) {
        return error_set(&r->err, ERR_MALFORMED, "Idempotency-Key must have 1 to %d "
                         "visible characters", KEY_MAX);
    }

    if (!request_digest(r, digest)) {
        return error_set(&r->err, ERR_INTERNAL, "out of memory");
    }

    if (!DB_RUN(r->db, &r->err, SQL_IDEMPOTENCY_PURGE, principal_of(r), key)) {
        return false;
    }

    inserted = DB_VALUE(r->db, &r->err, SQL_IDEMPOTENCY_BEGIN, principal_of(r), key, digest);

    if (inserted) {
        return true;
    }

    if (r->err.code != ERR_NOT_FOUND) {
        return false;
    }

    r->err = (struct error) { 0 };
    *ret_known = true;

    return answer_again(r, key, digest);
}

bool
idempotency_end(struct request *r)
{
    const char            *key = key_of(r);
    size_t                 len = evbuffer_get_length(r->out);
    CLEANUP(mem) char     *sealed = NULL;
    CLEANUP(secret) char  *text = NULL;
    char                   status[16], context[SEAL_CONTEXT];

    if (key == NULL) {
        return true;
    }

    text = calloc(1, len + 1);
    if (text == NULL) {
        return error_set(&r->err, ERR_INTERNAL, "out of memory");
    }

    evbuffer_copyout(r->out, text, len);
    snprintf(status, sizeof(status), "%d", r->status);
    sealed = seal_text(r->ctx->seal, seal_context(r, key, context), text, &r->err);

    return sealed
           && DB_RUN(r->db, &r->err, SQL_IDEMPOTENCY_END, principal_of(r), key, status,
                     rest_reply_header(r, "Location"), sealed);
}
