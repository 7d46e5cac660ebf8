/* Renewal as a person asks for it; the sweep of job/ is one statement. */
#pragma once
#include "core.h"

/*
 * Starts a renewal (or the first issuance) of a managed certificate in the
 * caller's transaction.  Refuses: unknown (NOT_FOUND), no policy, method
 * manual or none (INVALID), archived, revoked, already in progress unless force
 * (CONFLICT).  *job_id and *attempt_id are to be freed; *job_id is NULL when
 * the attempt waits for an approval.
 */
bool renewal_request(const struct core *c, const char *certificate_id,
    bool force, char **job_id, char **attempt_id, struct error *err);
