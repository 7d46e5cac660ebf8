/* What the phases of an order have in common: their state, and how one ends. */
#include "acme_run.h"

#define POLL_MAX  60             /* seconds between two looks */

bool
acme_next(struct acme_run *r, const char *phase, enum issuer_outcome outcome, int wait)
{
    json_object_set_new(r->state, "phase", json_string(phase));
    r->ret->outcome = outcome;
    r->ret->retry_after = wait;

    return true;
}

bool
acme_go_on(struct acme_run *r, const char *phase)
{
    return acme_next(r, phase, ISSUER_PENDING, 0);
}

bool
acme_look_again(struct acme_run *r, const char *phase, int retry_after)
{
    return acme_next(r, phase, ISSUER_PENDING, retry_after < 1 ? 1
                : retry_after > POLL_MAX ? POLL_MAX : retry_after);
}

int
acme_count(const struct acme_run *r, const char *name)
{
    return (int) json_integer_value(json_object_get(r->state, name));
}

void
acme_set_count(struct acme_run *r, const char *name, int value)
{
    json_object_set_new(r->state, name, json_integer(value));
}

const char *
acme_challenge_type(const struct acme_run *r)
{
    const char  *type = acme_text(r->acme.ctx->config, "challenge_type");

    return *type ? type : "http-01";
}

const char *
acme_status(struct acme_run *r, const struct acme_answer *answer)
{
    const char  *status = acme_string(answer->body, "status");

    if (status == NULL) {
        error_set(&r->err, ERR_PEER, "RFC 8555 7.1: the CA's answer has no status");
    }

    return status;
}
