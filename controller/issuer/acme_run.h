/* An order's phases, for the files that have them: acme_*.c. */
#pragma once
#include "acme.h"

/* One step of an order. */
struct acme_run {
    struct acme                   acme;
    const struct issuer_request  *req;
    struct issuer_step           *ret;
    json_t                       *state;        /* the next one */
    struct error                  err;
};

/* The step ends with outcome; the next one is phase. */
bool acme_next(struct acme_run *r, const char *phase, enum issuer_outcome outcome,
    int wait);

bool acme_go_on(struct acme_run *r, const char *phase);

/* The same as often as the CA asks for (RFC 8555 7.5.1). */
bool acme_look_again(struct acme_run *r, const char *phase, int retry_after);

/* Numbers of the state. */
int acme_count(const struct acme_run *r, const char *name);
void acme_set_count(struct acme_run *r, const char *name, int value);

/* The type of challenge that the configuration chooses. */
const char *acme_challenge_type(const struct acme_run *r);

/* An order or an authorization has a status (RFC 8555 7.1.6); NULL when this is none. */
const char *acme_status(struct acme_run *r, const struct acme_answer *answer);

/* Phases: the authorizations of an order and their challenges (RFC 8555 7.5). */
bool acme_authorize(struct acme_run *r);
bool acme_answer_challenges(struct acme_run *r);
bool acme_validate(struct acme_run *r);

/* From an order that is authorized to its certificate (RFC 8555 7.4). */
bool acme_finalize(struct acme_run *r);
bool acme_issue(struct acme_run *r);
