/* Names of certificates: the permission to choose them, and rules that they keep. */
#include "certificate_rules.h"

#include "profile.h"
#include "rest_auth.h"

static bool
differs(const struct request *r, const json_t *current, const char *const *names)
{
    const json_t  *value;

    for ( ; *names; names++) {
        value = json_object_get(r->body, *names);

        if (value && !json_equal(value, json_object_get(current, *names))) {
            return true;
        }
    }

    return false;
}

/* The next renewal issues for these names: who may not issue may not choose them. */
bool
certificate_names_may_change(struct request *r, const char *id, const json_t *current)
{
    static const char *const  names[] = { "common_name", "sans", NULL };

    (void) id;

    return !differs(r, current, names) || auth_may(r, "cert.issue")
           || error_set(&r->err, ERR_FORBIDDEN, "common_name and sans are what the next renewal "
                        "issues for: to change them needs the permission cert.issue");
}

/* Only what its rules are about is judged: what was created before a rule may change
 * in all else. */
bool
certificate_keeps_rules(struct request *r, const char *id, const json_t *current)
{
    const struct core         core = { r->db, r->ctx->seal, r->actor, r->actor_type };
    static const char *const  judged[] = {
        "common_name", "sans", "key_type", "certificate_profile_id", "organization_id",
        "renewal_policy_id", NULL
    };

    return (current && !differs(r, current, judged)) || profile_allows(&core, id, &r->err);
}
