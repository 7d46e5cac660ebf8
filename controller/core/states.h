/* State machines as rows: what may happen to a thing in a state. */
#pragma once
#include "core.h"

struct transition { const char *from, *event, *to; };

/* NULL from ends. */
extern const struct transition
    certificate_transitions[], order_transitions[], attempt_transitions[],
    job_transitions[], authority_transitions[];

/* Whether event may happen to what is in the state from. */
bool state_allows(const struct transition *table, const char *from,
    const char *event);

/* Whether its state allows an action of certificate_transitions: renew, deploy,
 * change ...  CONFLICT says why not, and what to do. */
bool certificate_may(const char *id, const char *status, const char *action,
    struct error *err);

/* The same for the certificate in the database, locked until the transaction
 * ends; NOT_FOUND. */
bool certificate_allows(const struct core *c, const char *id, const char *action,
    struct error *err);
