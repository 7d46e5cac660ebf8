/*
 * Issuer "scripted", in builds with crash points only: a connector whose steps are
 * the words of its configuration, and a CA that is a folder.  "account order
 * place check withdraw issue" is about what ACME does.  What the CA was asked for
 * stands in its folder, a line in "log" for each time, a file for each order; a
 * file named like a word of a fault makes it happen.
 */
#include "ca.h"
#include "issuer.h"
#include "x509_key.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct field  fields[] = {
    { "dir", T_TEXT, F_REQUIRED, 1, 200, .help = "folder of the CA" },
    { "script", T_TEXT, F_REQUIRED, 1, 500, .help = "words, one for each step" },
    { "url", T_TEXT, 0, 0, 200, .help = "where challenges are asked for" },
    { "token", T_TEXT, 0, 0, 100, .help = "name of the challenge" },
    { 0 }
};

/* One step: what the words are given. */
struct script {
    const struct issuer_context  *ctx;
    const struct issuer_request  *req;
    struct issuer_step           *ret;
    int                           at;            /* number of the word */
};

static const char *
text(const struct script *s, const char *name)
{
    const char  *value = json_string_value(json_object_get(s->ctx->config, name));

    return value ? value : "";
}

static void
path(const struct script *s, const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s/%s", text(s, "dir"), name);
}

static bool
exists(const struct script *s, const char *name)
{
    char  file[300];

    path(s, name, file, sizeof(file));

    return access(file, F_OK) == 0;
}

/* A line of the CA's log. */
static void
note(const struct script *s, const char *word)
{
    char  file[300], line[200];
    int   fd, len;

    path(s, "log", file, sizeof(file));
    fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    len = snprintf(line, sizeof(line), "%s %s\n", word, s->req->order_id);

    if (fd < 0 || write(fd, line, (size_t) len) != len) {
        abort();                                 /* the test counts on it */
    }

    close(fd);
}

/* The next word is another one: the state says which. */
static void
go_on(const struct script *s, int retry_after)
{
    s->ret->outcome = ISSUER_PENDING;
    s->ret->retry_after = retry_after;
    s->ret->state = json_pack("{s:i}", "at", s->at + 1);
}

static void
fail(const struct script *s, enum err code, const char *what)
{
    struct error  err = { 0 };

    error_set(&err, code, "the scripted CA: %s", what);
    err.retry_after = code == ERR_THROTTLED ? 3600 : 0;
    issuer_step_failed(s->ret, &err);
    s->ret->problem = json_pack("{s:s, s:s}", "type", "urn:test:fault", "detail", what);
}

/* One account for all orders; made while this order holds it. */
static void
word_account(const struct script *s)
{
    if (json_is_string(json_object_get(s->ctx->account, "kid"))) {
        go_on(s, 0);

    } else if (!s->ctx->account_held) {
        s->ret->outcome = ISSUER_ACCOUNT;

    } else if (s->ctx->account == NULL) {
        s->ret->outcome = ISSUER_ACCOUNT;        /* the key first, then the CA */
        s->ret->account = json_pack("{s:s}", "key", "secret");

    } else {
        note(s, "account");
        go_on(s, 0);
        s->ret->account = json_pack("{s:s, s:s}", "key", "secret", "kid", "1");
    }
}

/* The CA takes our order's id, so a second time is the same order. */
static void
word_order(const struct script *s)
{
    char  file[300], name[150];
    int   fd;

    note(s, "order");
    snprintf(name, sizeof(name), "order.%s", s->req->order_id);
    path(s, name, file, sizeof(file));
    fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    close(fd);
    go_on(s, 0);
}

static void
challenge(const struct script *s, bool withdraw)
{
    struct issuer_challenge  *ch = calloc(1, sizeof(*ch));
    char                      value[200];

    snprintf(value, sizeof(value), "%s.%s%019d", text(s, "token"), s->req->order_id, 0);
    go_on(s, 0);
    s->ret->outcome = ISSUER_CHALLENGES;
    *ch = (struct issuer_challenge) {
        .type = "http-01", .identifier = strdup(s->req->sans + strlen("DNS:")),
        .name = strdup(text(s, "token")), .value = strdup(value), .withdraw = withdraw
    };
    s->ret->challenges = ch;
    s->ret->nchallenges = 1;
}

static void
word_place(const struct script *s)
{
    challenge(s, false);
}

static void
word_withdraw(const struct script *s)
{
    challenge(s, true);
}

/* The CA looks for the challenge where a client would. */
static void
word_check(const struct script *s)
{
    CLEANUP(http_response) struct http_response  res = { 0 };
    struct error                                 err = { 0 };
    char                                         url[400];
    const struct http_request                    req = {
        .url = url, .reach = HTTP_PRIVATE, .connect_ms = 3000, .total_ms = 5000
    };

    snprintf(url, sizeof(url), "%s/.well-known/acme-challenge/%s", text(s, "url"),
             text(s, "token"));

    if (!http_send(s->ctx->http, &req, &res, &err) || res.status != 200
        || strstr(res.body, s->req->order_id) == NULL)
    {
        fail(s, ERR_INVALID, "the challenge is not there");
        return;
    }

    note(s, "check");
    go_on(s, 0);
}

/* An operator of the CA has to agree: three days. */
static void
word_days(const struct script *s)
{
    go_on(s, 3 * 86400);
}

/* The same for as long as the file is there. */
static void
word_hold(const struct script *s)
{
    go_on(s, exists(s, "hold"));

    if (exists(s, "hold")) {
        json_object_set_new(s->ret->state, "at", json_integer(s->at));
    }
}

/* A CA that answers slowly. */
static void
word_slow(const struct script *s)
{
    note(s, "slow");
    sleep(3);
    go_on(s, 0);
}

static char *
slurp(const struct script *s, const char *name)
{
    char   file[300], *out = calloc(1, 20000);
    FILE  *in;

    path(s, name, file, sizeof(file));
    in = fopen(file, "r");

    if (in) {
        out[fread(out, 1, 19999, in)] = '\0';
        fclose(in);
    }

    return out;
}

static void
word_issue(const struct script *s)
{
    struct error                 err = { 0 };
    const char                  *why = NULL;
    CLEANUP(mem) char           *cert_pem = slurp(s, "ca.pem"), *key = slurp(s, "ca.key");
    CLEANUP(ca) struct ca       *ca = ca_load(cert_pem, key, s->ctx->now, &err);
    CLEANUP(x509_req) X509_REQ  *csr = NULL;
    CLEANUP(x509) X509          *cert = NULL;
    const struct ca_profile      profile = {
        .serial = s->req->serial, .sans = s->req->sans, .not_before = s->req->not_before,
        .not_after = s->req->not_after + (exists(s, "longer") ? 86400 : 0),
        .eku = exists(s, "usages") ? CA_EKU_SERVER_AUTH | CA_EKU_CLIENT_AUTH
               : exists(s, "any") ? 0 : CA_EKU_SERVER_AUTH,
        .must_staple = s->req->must_staple && !exists(s, "plain")
    };

    note(s, "issue");
    csr = certctl_csr_from_pem(s->req->csr_pem, strlen(s->req->csr_pem), &why);
    cert = ca && csr ? ca_issue(ca, X509_REQ_get0_pubkey(csr), &profile, &err) : NULL;
    s->ret->chain_pem = cert ? ca_chain_pem(ca, cert, &err) : NULL;
    s->ret->outcome = ISSUER_ISSUED;

    if (s->ret->chain_pem == NULL) {
        issuer_step_failed(s->ret, &err);
    }
}

static const struct {
    const char  *name;
    void       (*run)(const struct script *s);
    enum err     fault;                          /* while a file has its name */
} words[] = {
    { "account", word_account, 0 },
    { "order", word_order, 0 },
    { "place", word_place, 0 },
    { "check", word_check, 0 },
    { "withdraw", word_withdraw, 0 },
    { "days", word_days, 0 },
    { "hold", word_hold, 0 },
    { "slow", word_slow, 0 },
    { "issue", word_issue, 0 },
    { "permanent", NULL, ERR_INVALID },
    { "temporary", NULL, ERR_UNAVAILABLE },
    { "limited", NULL, ERR_THROTTLED },
};

static void
scripted_word(const struct script *s, const char *word, size_t len)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i].name) != len || strncmp(words[i].name, word, len) != 0) {
            continue;
        }

        if (words[i].run) {
            words[i].run(s);

        } else if (exists(s, words[i].name)) {
            note(s, words[i].name);
            fail(s, words[i].fault, words[i].name);

        } else {
            go_on(s, 0);
        }

        return;
    }

    fail(s, ERR_INVALID, "the script ends without \"issue\"");
}

static void
scripted_step(const struct issuer_context *ctx, const json_t *state,
    const struct issuer_request *req, struct issuer_step *ret)
{
    struct script  s = { ctx, req, ret, 0 };
    const char    *word = text(&s, "script");

    s.at = (int) json_integer_value(json_object_get(state, "at"));

    for (int i = 0; i < s.at; i++) {
        word += strcspn(word, " ");
        word += *word == ' ';
    }

    scripted_word(&s, word, strcspn(word, " "));
}

static bool
scripted_prepare(json_t *config, struct error *err)
{
    (void) config, (void) err;

    return true;
}

static bool
scripted_revoke(const struct issuer_context *ctx, const struct issuer_certificate *cert,
    int reason, struct error *err)
{
    const struct issuer_request  req = { .order_id = cert->serial };
    const struct script          s = { ctx, &req, NULL, 0 };

    (void) reason, (void) err;
    note(&s, strstr(cert->chain_pem, "CERTIFICATE") ? "revoke" : "revoke nothing");

    return true;
}

extern const struct issuer  issuer_scripted;

const struct issuer  issuer_scripted = {
    .kind    = { "scripted", NULL, "ScriptedConfig", "the connector of tests", fields },
    .prepare = scripted_prepare,
    .step    = scripted_step,
    .revoke  = scripted_revoke
};
