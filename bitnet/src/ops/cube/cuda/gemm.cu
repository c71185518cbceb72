// C = A * B for bf16 matrices, sums in f32, by the tensor cores of sm_80 and later.
//
// What precedes this text: A_BY_K, B_BY_K (whether a matrix is contiguous along the dimension that
// is summed over: A as [m, k], B as [n, k]; else A as [k, m], B as [k, n]), TWICE_A, TWICE_B (whether
// a matrix has half of k, and is taken twice), SCALED, RESIDUAL.
//
// A block of four warps computes 128 x 128 elements, each warp 64 x 64 of them. Operands come by
// asynchronous copies, four steps of 32 ahead. Chunks of 16 bytes are exchanged within shared
// memory so that neither copies nor ldmatrix meet in a bank.

typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned long long u64;

struct Sizes {
    u64 m, n, k;
    // Parts that the sum is split into: C is one matrix a part then.
    u64 splits;
};

#define TILE 128
#define STEP 32
#define STAGES 4
#define OPERAND (TILE * STEP * 2)

__device__ __forceinline__ void copy16(u32 to, const u16* from, bool inside) {
    int bytes = inside ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(to), "l"(from), "r"(bytes));
}

// Rows r0.. of a matrix that is contiguous along k.
__device__ __forceinline__ void load_by_k(
    u32 to, const u16* from, int r0, int rows, int k0, int k_end, int stride) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int id = threadIdx.x + i * 128;
        int row = id >> 2, chunk = id & 3;
        int r = r0 + row, k = k0 + chunk * 8;
        bool inside = r < rows && k < k_end;
        const u16* at = inside ? from + (u64)r * stride + k : from;
        copy16(to + row * 64 + ((chunk ^ ((row >> 1) & 3)) << 4), at, inside);
    }
}

// Columns r0.. of a matrix whose rows are along k.
__device__ __forceinline__ void load_across_k(
    u32 to, const u16* from, int r0, int rows, int k0, int k_end, int stride) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int id = threadIdx.x + i * 128;
        int row = id >> 4, chunk = id & 15;
        int k = k0 + row, r = r0 + chunk * 8;
        bool inside = r < rows && k < k_end;
        const u16* at = inside ? from + (u64)k * stride + r : from;
        copy16(to + row * 256 + ((chunk ^ (row & 7)) << 4), at, inside);
    }
}

#define LDMATRIX(r0, r1, r2, r3, at)                                                          \
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"            \
                 : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)                                     \
                 : "r"(at))
#define LDMATRIX_TRANS(r0, r1, r2, r3, at)                                                    \
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"      \
                 : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)                                     \
                 : "r"(at))

extern "C" __global__ void __launch_bounds__(128, 2) gemm(
    const u16* __restrict__ a,
    const u16* __restrict__ b,
    const float* __restrict__ row_scales,
    const float* __restrict__ column_scales,
    const float* __restrict__ residual,
    float* __restrict__ c,
    const __grid_constant__ Sizes sizes) {
    extern __shared__ __align__(128) unsigned char memory[];
    u32 shared;
    asm("{ .reg .u64 t; cvta.to.shared.u64 t, %1; cvt.u32.u64 %0, t; }" : "=r"(shared) : "l"(memory));

    const int m = sizes.m, n = sizes.n, k = sizes.k;
    const int n0 = blockIdx.x * TILE, m0 = blockIdx.y * TILE;
    const int splits = sizes.splits;
    c += (u64)blockIdx.z * m * n;

    int k_begin = 0, k_end = k;
    if (splits > 1) {
        int share = ((k + STEP - 1) / STEP + splits - 1) / splits * STEP;
        k_begin = blockIdx.z * share;
        k_end = min(k, k_begin + share);
    }
    const int steps = k_end > k_begin ? (k_end - k_begin + STEP - 1) / STEP : 0;

    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int wm = (warp >> 1) * 64, wn = (warp & 1) * 64;

    float acc[4][8][4];
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) acc[i][j][e] = 0.0f;

    // Of a matrix that is taken twice, k is a multiple of the steps.
    const int k_a = TWICE_A ? k / 2 : k, k_b = TWICE_B ? k / 2 : k;
    auto load = [&](int step) {
        u32 to = shared + (step % STAGES) * (2 * OPERAND);
        int k0 = k_begin + step * STEP;
        int at_a = TWICE_A && k0 >= k_a ? k0 - k_a : k0, end_a = TWICE_A ? k_a : k_end;
        int at_b = TWICE_B && k0 >= k_b ? k0 - k_b : k0, end_b = TWICE_B ? k_b : k_end;
#if A_BY_K
        load_by_k(to, a, m0, m, at_a, end_a, k_a);
#else
        load_across_k(to, a, m0, m, at_a, end_a, m);
#endif
#if B_BY_K
        load_by_k(to + OPERAND, b, n0, n, at_b, end_b, k_b);
#else
        load_across_k(to + OPERAND, b, n0, n, at_b, end_b, n);
#endif
    };

#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < steps) load(s);
        asm volatile("cp.async.commit_group;\n");
    }
    for (int step = 0; step < steps; step++) {
        asm volatile("cp.async.wait_group %0;\n" ::"n"(STAGES - 2));
        __syncthreads();
        if (step + STAGES - 1 < steps) load(step + STAGES - 1);
        asm volatile("cp.async.commit_group;\n");
        const u32 sa = shared + (step % STAGES) * (2 * OPERAND), sb = sa + OPERAND;
#pragma unroll
        for (int kk = 0; kk < STEP / 16; kk++) {
            u32 fa[4][4], fb[8][2];
#pragma unroll
            for (int i = 0; i < 4; i++) {
#if A_BY_K
                int row = wm + i * 16 + (lane & 15), chunk = kk * 2 + (lane >> 4);
                u32 at = sa + row * 64 + ((chunk ^ ((row >> 1) & 3)) << 4);
                LDMATRIX(fa[i][0], fa[i][1], fa[i][2], fa[i][3], at);
#else
                int row = kk * 16 + (lane & 7) + ((lane >> 4) << 3);
                int chunk = (wm + i * 16) / 8 + ((lane >> 3) & 1);
                u32 at = sa + row * 256 + ((chunk ^ (row & 7)) << 4);
                LDMATRIX_TRANS(fa[i][0], fa[i][1], fa[i][2], fa[i][3], at);
#endif
            }
#pragma unroll
            for (int j = 0; j < 4; j++) {
#if B_BY_K
                int row = wn + j * 16 + (lane & 7) + ((lane >> 4) << 3);
                int chunk = kk * 2 + ((lane >> 3) & 1);
                u32 at = sb + row * 64 + ((chunk ^ ((row >> 1) & 3)) << 4);
                LDMATRIX(fb[2 * j][0], fb[2 * j][1], fb[2 * j + 1][0], fb[2 * j + 1][1], at);
#else
                int row = kk * 16 + (lane & 15);
                int chunk = (wn + j * 16) / 8 + (lane >> 4);
                u32 at = sb + row * 256 + ((chunk ^ (row & 7)) << 4);
                LDMATRIX_TRANS(fb[2 * j][0], fb[2 * j][1], fb[2 * j + 1][0], fb[2 * j + 1][1], at);
#endif
            }
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 8; j++)
                    asm volatile(
                        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
                        : "+f"(acc[i][j][0]), "+f"(acc[i][j][1]), "+f"(acc[i][j][2]), "+f"(acc[i][j][3])
                        : "r"(fa[i][0]), "r"(fa[i][1]), "r"(fa[i][2]), "r"(fa[i][3]),
                          "r"(fb[j][0]), "r"(fb[j][1]));
        }
    }

#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = m0 + wm + i * 16 + half * 8 + (lane >> 2);
            if (row >= m) continue;
#if SCALED
            float scale = row_scales[row];
#endif
#pragma unroll
            for (int j = 0; j < 8; j++) {
                int column = n0 + wn + j * 8 + (lane & 3) * 2;
                if (column >= n) continue;
                float2 y = make_float2(acc[i][j][2 * half], acc[i][j][2 * half + 1]);
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
