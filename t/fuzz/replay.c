/* Runs a fuzzer over the files that it is given, as TAP; without libFuzzer. */
#include "fuzz.h"
#include "tap.h"

#include <sys/stat.h>

int
main(int argc, char **argv)
{
    struct stat   st;
    uint8_t      *data;
    FILE         *file;
    size_t        len;

    for (int i = 1; i < argc; i++) {
        file = fopen(argv[i], "rb");
        FUZZ_MUST(file && fstat(fileno(file), &st) == 0);

        data = malloc(st.st_size ? (size_t) st.st_size : 1);
        FUZZ_MUST(data != NULL);
        len = fread(data, 1, (size_t) st.st_size, file);
        fclose(file);

        ok(len == (size_t) st.st_size && LLVMFuzzerTestOneInput(data, len) == 0,
           "%s", argv[i]);
        free(data);
    }

    return done_testing();
}
