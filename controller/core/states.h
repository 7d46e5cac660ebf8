/* State machines as rows: what may happen to a thing in a state. */
#pragma once
#include <stdbool.h>

struct transition { const char *from, *event, *to; };

/* NULL from ends. */
extern const struct transition
    certificate_transitions[], order_transitions[], attempt_transitions[],
    job_transitions[], authority_transitions[];

/* Whether event may happen to what is in the state from. */
bool state_allows(const struct transition *table, const char *from,
    const char *event);
