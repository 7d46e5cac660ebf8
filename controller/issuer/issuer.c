/* The connectors there are, and how a type's name finds one. */
#include "issuer.h"
#include "acme.h"
#include "local.h"

#include <stdlib.h>

#ifdef CERTCTL_POINTS
extern const struct issuer  issuer_scripted;      /* t/connector/ */
#endif

const struct field_kind *const  issuer_kinds[] = {
    &issuer_local.kind,
    &issuer_acme.kind,
#ifdef CERTCTL_POINTS
    &issuer_scripted.kind,
#endif
    NULL
};

/* A kind is the first member of its connector. */
const struct issuer *
issuer_find(const char *type)
{
    return (const struct issuer *) field_kind_find(issuer_kinds, type);
}

void
issuer_step_free(struct issuer_step *step)
{
    for (size_t i = 0; i < step->nchallenges; i++) {
        free(step->challenges[i].identifier);
        free(step->challenges[i].name);
        free(step->challenges[i].value);
    }

    free(step->challenges);
    free(step->chain_pem);
    json_decref(step->state);
    json_decref(step->account);
    json_decref(step->problem);

    *step = (struct issuer_step) { 0 };
}

static enum issuer_fault
fault_of(enum err code)
{
    switch (code) {
    case ERR_THROTTLED:
        return ISSUER_LIMITED;

    case ERR_INVALID:
    case ERR_UNSUPPORTED:
    case ERR_UNAUTHORIZED:
    case ERR_FORBIDDEN:
        return ISSUER_PERMANENT;

    default:
        return ISSUER_TEMPORARY;
    }
}

void
issuer_report(json_t *report, const char *step, const struct error *why,
    const char *detail)
{
    json_array_append_new(report, json_pack("{s:s, s:b, s:s?}", "step", step, "ok", why == NULL,
                                            "detail", why ? why->detail : detail));
}

void
issuer_step_failed(struct issuer_step *step, const struct error *why)
{
    step->outcome = ISSUER_FAILED;
    step->err = *why;
    step->fault = fault_of(why->code);
    step->retry_after = why->retry_after;
}
