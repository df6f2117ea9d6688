/* libnvonnxparser.so.10, a stand-in: a parser whose functions all say 0: no node is supported, no error is known. */
#include <stddef.h>

enum { FUNCTIONS = 64 };

static void *none(void) { return NULL; }

static void *(*table[FUNCTIONS])(void);

static struct {
    void *(**functions)(void);
} parser = {table};

__attribute__((constructor)) static void make(void) {
    for (int i = 0; i < FUNCTIONS; i++) table[i] = none;
}

void *createNvOnnxParser_INTERNAL(void) { return &parser; }
void *createNvOnnxParserRefitter_INTERNAL(void) { return &parser; }
