/* Authorizations of an order and their challenges (RFC 8555 7.5). */
#include "acme_run.h"

#include "jose.h"
#include "random.h"

#include <stdio.h>
#include <string.h>

#define AT_ONCE  10              /* authorizations that one step asks for */

/* The challenge of our type in an authorization. */
static const json_t *
find_challenge(const struct acme_run *r, const json_t *authz)
{
    const json_t  *challenge;
    size_t         i;

    json_array_foreach(json_object_get(authz, "challenges"), i, challenge) {
        if (strcmp(acme_text(challenge, "type"), acme_challenge_type(r)) == 0) {
            return challenge;
        }
    }

    return NULL;
}

static void
authz_name(const json_t *authz, char *out, size_t size)
{
    snprintf(out, size, "%.200s", acme_text(json_object_get(authz, "identifier"), "value"));
}

/* Why an authorization is not there: what its challenge says (RFC 8555 7.1.4). */
static bool
authz_refused(struct acme_run *r, const json_t *authz)
{
    const json_t  *challenge, *problem = NULL;
    size_t         i;
    char           name[201], what[250];

    json_array_foreach(json_object_get(authz, "challenges"), i, challenge) {
        if (json_is_object(json_object_get(challenge, "error"))) {
            problem = json_object_get(challenge, "error");
        }
    }

    authz_name(authz, name, sizeof(name));

    if (problem == NULL) {
        return error_set(&r->err, ERR_INVALID, "the CA's authorization for %s is %.30s", name,
                         acme_text(authz, "status"));
    }

    json_decref(r->acme.problem);
    r->acme.problem = json_incref((json_t *) problem);
    snprintf(what, sizeof(what), "the CA refuses %s", name);

    return acme_problem_error(problem, ERR_INVALID, what, &r->err);
}

/* What the hosts answer with: RFC 8555 8.3, RFC 8737 3. */
static bool
challenge_value(struct acme_run *r, const char *token, struct issuer_challenge *ch)
{
    CLEANUP(mem) char  *thumbprint = jose_thumbprint(r->acme.key), *text = NULL;
    char                digest[65];

    if (thumbprint == NULL || asprintf(&text, "%s.%s", token, thumbprint) < 0) {
        return error_set(&r->err, ERR_INTERNAL, "out of memory");
    }

    if (strcmp(ch->type, "http-01") == 0) {
        ch->name = strdup(token);
        ch->value = TAKE(text);

    } else {
        sha256_hex(text, strlen(text), digest);
        ch->name = strdup(ch->identifier);
        ch->value = strdup(digest);
    }

    return (ch->name && ch->value) || error_set(&r->err, ERR_INTERNAL, "out of memory");
}

/* Adds what this authorization needs to the step's challenges and to "open". */
static bool
authz_open(struct acme_run *r, const char *url, const json_t *authz)
{
    const json_t             *challenge = find_challenge(r, authz);
    const char               *token = acme_string(challenge, "token");
    struct issuer_challenge  *ch;
    char                      name[201];

    authz_name(authz, name, sizeof(name));

    if (token == NULL || acme_string(challenge, "url") == NULL) {
        return error_set(&r->err, ERR_INVALID, "the CA offers no %s challenge for %s",
                         acme_challenge_type(r), name);
    }

    ch = &r->ret->challenges[r->ret->nchallenges++];
    ch->type = acme_challenge_type(r);
    ch->identifier = strdup(name);

    if (ch->identifier == NULL || !challenge_value(r, token, ch)) {
        return false;
    }

    return json_array_append_new(json_object_get(r->state, "open"),
                                 json_pack("{s:s, s:s}", "authz", url, "challenge",
                                           acme_string(challenge, "url"))) == 0
           || error_set(&r->err, ERR_INTERNAL, "out of memory");
}

static bool
authz_take(struct acme_run *r, const char *url)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    const char                              *status;

    if (!acme_post(&r->acme, url, NULL, &answer, &r->err)) {
        return error_prefix(&r->err, "authorization");
    }

    status = acme_status(r, &answer);

    if (status == NULL) {
        return false;
    }

    if (strcmp(status, "valid") == 0) {
        return true;
    }

    return strcmp(status, "pending") == 0 ? authz_open(r, url, answer.body)
                                          : authz_refused(r, answer.body);
}

bool
acme_authorize(struct acme_run *r)
{
    const json_t  *all = json_object_get(r->state, "authorizations");
    size_t         at = (size_t) acme_count(r, "at"), n = json_array_size(all);

    r->ret->challenges = calloc(AT_ONCE, sizeof(*r->ret->challenges));

    if (r->ret->challenges == NULL) {
        return error_set(&r->err, ERR_INTERNAL, "out of memory");
    }

    for (int i = 0; i < AT_ONCE && at < n; i++, at++) {
        if (!authz_take(r, json_string_value(json_array_get(all, at)))) {
            return false;
        }
    }

    acme_set_count(r, "at", at < n ? (int) at : 0);

    return acme_next(r, at < n ? "authorize"
                : json_array_size(json_object_get(r->state, "open")) ? "answer" : "finalize",
                r->ret->nchallenges ? ISSUER_CHALLENGES : ISSUER_PENDING, 0);
}

/* Tells the CA that the hosts answer.  A challenge that has been told of already may
 * be refused: whether that matters is seen when the authorization is looked at. */
bool
acme_answer_challenges(struct acme_run *r)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    const json_t                            *open = json_object_get(r->state, "open");
    size_t                                   at = (size_t) acme_count(r, "at");
    size_t                                   n = json_array_size(open);

    for (int i = 0; i < AT_ONCE && at < n; i++, at++) {
        if (!acme_post(&r->acme, acme_string(json_array_get(open, at), "challenge"),
                       json_object(), &answer, &r->err)
            && r->err.code != ERR_INVALID)
        {
            return error_prefix(&r->err, "challenge");
        }
    }

    acme_set_count(r, "at", at < n ? (int) at : 0);

    return acme_go_on(r, at < n ? "answer" : "validate");
}

/* Looks at authorizations that are open; those that are valid are no more. */
bool
acme_validate(struct acme_run *r)
{
    CLEANUP(acme_answer) struct acme_answer  answer = { 0 };
    json_t                                  *open = json_object_get(r->state, "open");
    const char                              *status;
    int                                      wait = 0;
    size_t                                   i = 0;

    for (int n = 0; n < AT_ONCE && i < json_array_size(open); n++) {
        if (!acme_post(&r->acme, acme_string(json_array_get(open, i), "authz"), NULL, &answer,
                       &r->err))
        {
            return error_prefix(&r->err, "authorization");
        }

        status = acme_status(r, &answer);

        if (status == NULL) {
            return false;
        }

        if (strcmp(status, "valid") == 0) {
            json_array_remove(open, i);
            continue;
        }

        if (strcmp(status, "pending") != 0) {
            return authz_refused(r, answer.body);
        }

        wait = answer.http.retry_after > wait ? answer.http.retry_after : wait;
        i++;
    }

    if (json_array_size(open) == 0) {
        return acme_go_on(r, "finalize");
    }

    return i == 0 ? acme_go_on(r, "validate") : acme_look_again(r, "validate", wait);
}
