/* The target connectors there are. */
#include "target.h"

#include <strings.h>

extern const struct target  target_nginx_module;

const struct target *const  targets[] = {
    &target_nginx_module,
    NULL
};

const struct target *
target_find(const char *type)
{
    for (const struct target *const *t = targets; *t; t++) {
        if (strcasecmp((*t)->type, type) == 0) {
            return *t;
        }

        for (const char *const *a = (*t)->aliases; a && *a; a++) {
            if (strcasecmp(*a, type) == 0) {
                return *t;
            }
        }
    }

    return NULL;
}
