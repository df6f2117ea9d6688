/* libcublas.so.13, a stand-in: products are counted and not computed. */
#include "driver.h"

static int product(int64_t m, int64_t n, int64_t k, int64_t batches) {
    const struct driver *d = find_driver();
    if (!d || d->state() != OK) return 1;                                               /* CUBLAS_STATUS_NOT_INITIALIZED */
    return d->work(1, (uint64_t)2 * m * n * k * batches) == OK ? 0 : 13; /* CUBLAS_STATUS_EXECUTION_FAILED */
}

/* What comes before the sizes: a handle, and whether each of the two matrices is turned. */
#define GEMM(name) \
    int name(void *handle, int turn_a, int turn_b, int m, int n, int k) { \
        (void)handle, (void)turn_a, (void)turn_b; \
        return product(m, n, k, 1); \
    }

GEMM(cublasSgemm_v2)
GEMM(cublasDgemm_v2)
GEMM(cublasGemmEx)

/* Batches come last, before how it is computed. */
int cublasSgemmStridedBatched(void *handle, int turn_a, int turn_b, int m, int n, int k, const float *alpha,
                              const float *a, int a_row, long long a_stride, const float *b, int b_row,
                              long long b_stride, const float *beta, float *c, int c_row, long long c_stride,
                              int batches) {
    (void)handle, (void)turn_a, (void)turn_b, (void)alpha, (void)a, (void)a_row, (void)a_stride, (void)b, (void)b_row,
        (void)b_stride, (void)beta, (void)c, (void)c_row, (void)c_stride;
    return product(m, n, k, batches);
}

int cublasGemmStridedBatchedEx(void *handle, int turn_a, int turn_b, int m, int n, int k, const void *alpha,
                               const void *a, int a_type, int a_row, long long a_stride, const void *b, int b_type,
                               int b_row, long long b_stride, const void *beta, void *c, int c_type, int c_row,
                               long long c_stride, int batches) {
    (void)handle, (void)turn_a, (void)turn_b, (void)alpha, (void)a, (void)a_type, (void)a_row, (void)a_stride, (void)b,
        (void)b_type, (void)b_row, (void)b_stride, (void)beta, (void)c, (void)c_type, (void)c_row, (void)c_stride;
    return product(m, n, k, batches);
}

int cublasGetMathMode(void *handle, int *mode) {
    (void)handle;
    *mode = 0;
    return 0;
}

const char *cublasGetStatusName(int status) { return status ? "CUBLAS_STATUS_ERROR" : "CUBLAS_STATUS_SUCCESS"; }
const char *cublasGetStatusString(int status) { return status ? "a stand-in's error" : "success"; }
