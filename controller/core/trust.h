/* Which CAs a host trusts, and should. */
#pragma once
#include "link.h"

/*
 * Sends the CAs that are trusted to a host whose status has others, and adds them
 * to the status.  A version without them is left as it is.  *knows: the host
 * trusts all of them.
 */
bool trust_send(const struct fleet *fleet, const struct agent_row *agent,
    json_t *status, bool *knows, struct error *err);
