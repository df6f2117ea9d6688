/* libnvinfer.so.10, a stand-in for TensorRT that opens and makes whatever is asked for; libnvonnxparser.so.10
 * (nvonnxparser.c) says that TensorRT takes no node, so that all go to the provider after it.
 *
 * TensorRT's objects are C++'s, whose virtual functions are called through a table; inline functions of its headers
 * call those of an implementation, the address after the table's. Here one object is both, and is what every function
 * of its own returns. It lies where the lower half of the address is zero, so that it is 0 as a number, false as a
 * truth value, and yet an object as an address. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { FUNCTIONS = 256, VERSION = 101401 }; /* 10.14.1 */

struct object {
    void *(**functions)(void);
    struct object *implementation;
    void *(*table[FUNCTIONS])(void);
};

static struct object *everything;

static void *give(void) { return everything; }

__attribute__((constructor)) static void make(void) {
    for (uintptr_t at = (uintptr_t)1 << 44; at < (uintptr_t)1 << 46; at += (uintptr_t)1 << 40) {
        void *memory = mmap((void *)at, sizeof *everything, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (memory == (void *)at) {
            everything = memory;
            everything->functions = everything->table;
            everything->implementation = everything;
            for (int i = 0; i < FUNCTIONS; i++) everything->table[i] = give;
            return;
        }
    }
    fprintf(stderr, "stand-in TensorRT: no free address\n");
    abort();
}

int getInferLibVersion(void) { return VERSION; }
void *getPluginRegistry(void) { return everything; }
void *createInferBuilder_INTERNAL(void) { return everything; }
void *createInferRefitter_INTERNAL(void) { return everything; }
void *createInferRuntime_INTERNAL(void) { return everything; }
