/* Challenges of CAs, answered by the hosts that serve the name. */
#pragma once
#include "issuer.h"
#include "work.h"

/* Stores that a challenge is to be placed or withdrawn, in the caller's
 * transaction; INVALID when no host can answer it. */
bool challenge_plan(const struct core *c, const char *order_id,
    const struct issuer_challenge *challenge, struct error *err);

/* Tells hosts of the order's challenges.  A host that is not online may be left
 * out when another one has the challenge. */
bool challenge_place(struct work *w, const char *order_id, struct error *err);

/* Deletes from hosts what the order has given up, all of it when the order ends.
 * What cannot be deleted now is the loop's. */
void challenge_withdraw(struct work *w, const char *order_id, bool all);
