/* Renewal as a person asks for it; the sweep of job/ is one statement. */
#pragma once
#include "core.h"

struct renewal_options {
    bool  force;             /* takes the place of a renewal under way */
    int   max_issuances;     /* of one certificate in a day (conf.h) */
    bool  override_limit;    /* as often as it is asked for: the caller has a reason */
};

/*
 * Starts a renewal (or the first issuance) of a managed certificate in the
 * caller's transaction.  Refuses: unknown (NOT_FOUND), no policy, one that does
 * not renew it (INVALID), archived, revoked, already in progress unless force
 * (CONFLICT), issued too often within a day (THROTTLED, with retry_after).
 * *job_id and *attempt_id are to be freed; *job_id is NULL when the attempt waits
 * for an approval.
 */
bool renewal_request(const struct core *c, const char *certificate_id,
    const struct renewal_options *options, char **job_id, char **attempt_id,
    struct error *err);

/* That a certificate was issued as often as it may be: THROTTLED, with when it
 * may be issued again.  The numbers are the row's of issuance_allowed(). */
bool renewal_limited(const char *certificate_id, const char *issued,
    const char *allowed, const char *wait, struct error *err);
