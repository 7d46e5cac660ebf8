/* The target connectors there are. */
#include "target.h"

extern const struct target  target_nginx_module, target_nginx;

const struct field_kind *const  target_kinds[] = {
    &target_nginx_module.kind,
    &target_nginx.kind,
    NULL
};

/* A kind is the first member of its connector. */
const struct target *
target_find(const char *type)
{
    return (const struct target *) field_kind_find(target_kinds, type);
}
