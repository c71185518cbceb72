// C = A * B for bf16 matrices, sums in f32, by the tensor cores of sm_90 (Hopper).
//
// What precedes this text: A_BY_K, B_BY_K (whether a matrix is contiguous along the dimension that
// is summed over: A as [m, k], B as [n, k]; else A as [k, m], B as [k, n]), TWICE_A, TWICE_B (whether
// a matrix has half of k, and is taken twice), WIDE (columns of a block: 128, 192 or 256), SCALED,
// RESIDUAL.
//
// A block computes 128 x WIDE elements, each of two warpgroups 64 rows of them. A third warpgroup has
// the copy engine bring operands, steps of 64 ahead, in the layout with 128 bytes of swizzle that
// the tensor cores read from shared memory.

typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned long long u64;

struct Sizes {
    u64 m, n, k;
    // Parts that the sum is split into: C is one matrix a part then.
    u64 splits;
};

#define TALL 128
#define STEP 64
#define BYTES_A (TALL * STEP * 2)
#define BYTES (BYTES_A + WIDE * STEP * 2)
#if WIDE == 256
#define STAGES 4
#elif WIDE == 192
#define STAGES 5
#else
#define STAGES 6
#endif
#define CONSUMERS 8

struct __align__(64) TensorMap {
    unsigned char opaque[128];
};

#if WIDE == 256
#define REGISTERS \
    "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
    "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
    "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
    "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63," \
    "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
    "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95," \
    "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111," \
    "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define OPERANDS "%128, %129, 1, 1, 1, %130, %131;\n"
#define SHAPE "m64n256k16"
#define SUMS S8(0), S8(8), S8(16), S8(24)
#elif WIDE == 192
#define REGISTERS \
    "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
    "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
    "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
    "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63," \
    "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
    "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define OPERANDS "%96, %97, 1, 1, 1, %98, %99;\n"
#define SHAPE "m64n192k16"
#define SUMS S8(0), S8(8), S8(16)
#elif WIDE == 128
#define REGISTERS \
    "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
    "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
    "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
    "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define OPERANDS "%64, %65, 1, 1, 1, %66, %67;\n"
#define SHAPE "m64n128k16"
#define SUMS S8(0), S8(8)
#endif
#define S4(j) "+f"(sums[j][0]), "+f"(sums[j][1]), "+f"(sums[j][2]), "+f"(sums[j][3])
#define S8(j) S4(j), S4(j + 1), S4(j + 2), S4(j + 3), S4(j + 4), S4(j + 5), S4(j + 6), S4(j + 7)

// sums += A[64 x 16] * B[16 x WIDE], of operands in shared memory.
__device__ __forceinline__ void multiply(float (&sums)[WIDE / 8][4], u64 a, u64 b) {
    asm volatile("wgmma.mma_async.sync.aligned." SHAPE ".f32.bf16.bf16 {" REGISTERS "}, " OPERANDS
                 : SUMS
                 : "l"(a), "l"(b), "n"(!A_BY_K), "n"(!B_BY_K));
}

// Describes an operand. Along k, rows of 128 bytes stand in groups of 8; across k, matrices of
// 64 x 64 elements stand one after the other.
__device__ __forceinline__ u64 operand(u32 at) {
    const u64 between_matrices = STEP * 128, between_groups = 1024, swizzle_128 = 1;
    return (u64)((at & 0x3ffff) >> 4) | (between_matrices >> 4) << 16
        | (between_groups >> 4) << 32 | swizzle_128 << 62;
}

// Barriers in shared memory.
__device__ __forceinline__ void begin(u32 barrier, u32 count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(barrier), "r"(count) : "memory");
}

__device__ __forceinline__ void expect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(barrier), "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void arrive(u32 barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(barrier) : "memory");
}

__device__ __forceinline__ void wait(u32 barrier, u32 phase) {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@!done bra again;\n"
        "}\n" ::"r"(barrier), "r"(phase) : "memory");
}

// Copies a box whose first element is (x, y), x along the rows; what lies outside becomes zero.
__device__ __forceinline__ void copy_box(u32 to, const TensorMap& map, int x, int y, u32 barrier) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4}], [%2];\n" ::"r"(to), "l"(&map), "r"(barrier), "r"(x), "r"(y)
        : "memory");
}

extern "C" __global__ void __launch_bounds__(384, 1) gemm(
    const __grid_constant__ TensorMap map_a,
    const __grid_constant__ TensorMap map_b,
    const u16*,
    const u16*,
    const float* __restrict__ row_scales,
    const float* __restrict__ column_scales,
    const float* __restrict__ residual,
    float* __restrict__ c,
    const __grid_constant__ Sizes sizes) {
    extern __shared__ __align__(1024) unsigned char memory[];
    u32 shared;
    asm("{ .reg .u64 t; cvta.to.shared.u64 t, %1; cvt.u32.u64 %0, t; }" : "=r"(shared) : "l"(memory));
    shared = (shared + 1023) & ~1023;

    const int m = sizes.m, n = sizes.n, k = sizes.k;
    const int n0 = blockIdx.x * WIDE, m0 = blockIdx.y * TALL;
    const int splits = sizes.splits;
    c += (u64)blockIdx.z * m * n;
    int k_begin = 0, k_end = k;
    if (splits > 1) {
        int share = ((k + STEP - 1) / STEP + splits - 1) / splits * STEP;
        k_begin = blockIdx.z * share;
        k_end = min(k, k_begin + share);
    }
    const int steps = k_end > k_begin ? (k_end - k_begin + STEP - 1) / STEP : 0;
    const int group = threadIdx.x >> 7, lane = threadIdx.x & 31, warp = (threadIdx.x >> 5) & 3;

    const u32 full = shared + STAGES * BYTES, empty = full + STAGES * 8;
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) {
            begin(full + s * 8, 1);
            begin(empty + s * 8, CONSUMERS);
        }
        asm volatile("fence.proxy.async;\n" ::: "memory");
    }
    __syncthreads();

    if (group == 2) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;\n");
        if (threadIdx.x == 256) {
            for (int step = 0; step < steps; step++) {
                const int s = step % STAGES;
                const u32 to = shared + s * BYTES, ready = full + s * 8;
                const int k0 = k_begin + step * STEP;
                // Of a matrix that is taken twice, k is a multiple of the steps.
                const int k_a = TWICE_A && k0 >= k / 2 ? k0 - k / 2 : k0;
                const int k_b = TWICE_B && k0 >= k / 2 ? k0 - k / 2 : k0;
                wait(empty + s * 8, (step / STAGES & 1) ^ 1);
                expect(ready, BYTES);
#if A_BY_K
                copy_box(to, map_a, k_a, m0, ready);
#else
#pragma unroll
                for (int i = 0; i < TALL / 64; i++)
                    copy_box(to + i * (STEP * 128), map_a, m0 + i * 64, k_a, ready);
#endif
#if B_BY_K
                copy_box(to + BYTES_A, map_b, k_b, n0, ready);
#else
#pragma unroll
                for (int i = 0; i < WIDE / 64; i++)
                    copy_box(to + BYTES_A + i * (STEP * 128), map_b, n0 + i * 64, k_b, ready);
#endif
            }
        }
        return;
    }
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;\n");

    float sums[WIDE / 8][4];
#pragma unroll
    for (int j = 0; j < WIDE / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) sums[j][e] = 0.0f;

    for (int step = 0; step < steps; step++) {
        const int s = step % STAGES;
        wait(full + s * 8, step / STAGES & 1);
        const u32 at_a = shared + s * BYTES + group * (64 * 128);
        const u32 at_b = shared + s * BYTES + BYTES_A;
        asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
#pragma unroll
        for (int kk = 0; kk < STEP / 16; kk++)
            multiply(sums, operand(at_a + kk * (A_BY_K ? 32 : 16 * 128)),
                     operand(at_b + kk * (B_BY_K ? 32 : 16 * 128)));
        asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
        // The products of the step before are done: its operands may be replaced.
        asm volatile("wgmma.wait_group.sync.aligned 1;\n" ::: "memory");
        if (step > 0 && lane == 0) arrive(empty + (step - 1) % STAGES * 8);
    }
    asm volatile("wgmma.wait_group.sync.aligned 0;\n" ::: "memory");

#pragma unroll
    for (int half = 0; half < 2; half++) {
        int row = m0 + group * 64 + warp * 16 + half * 8 + (lane >> 2);
        if (row >= m) continue;
#if SCALED
        float scale = row_scales[row];
#endif
#pragma unroll
        for (int j = 0; j < WIDE / 8; j++) {
            int column = n0 + j * 8 + (lane & 3) * 2;
            if (column >= n) continue;
            float2 y = make_float2(sums[j][2 * half], sums[j][2 * half + 1]);
            u64 at = (u64)row * n + column;
#if SCALED
            float2 s = *(const float2*)(column_scales + column);
            y.x = y.x * scale * s.x;
            y.y = y.y * scale * s.y;
#endif
#if RESIDUAL
            float2 r = *(const float2*)(residual + at);
            y.x += r.x;
            y.y += r.y;
#endif
            *(float2*)(c + at) = y;
        }
    }
}
