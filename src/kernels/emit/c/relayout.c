/* Each image is a matrix of ROWS by COLUMNS that is transposed, in squares that fit the cache. */
int ENTRY(const struct planish_args *a)
{
    if (a->size != (i64)sizeof *a)
        return 1;
    const i64 rows = ROWS, columns = COLUMNS, square = 32;
    for (i64 n = 0; n < a->n; n++) {
        const u8 *restrict x = a->x + n * rows * columns;
        u8 *restrict out = a->out + n * rows * columns;
        for (i64 r = 0; r < rows; r += square)
            for (i64 c = 0; c < columns; c += square)
                for (i64 i = r; i < rows && i < r + square; i++)
                    for (i64 j = c; j < columns && j < c + square; j++)
                        out[j * rows + i] = x[i * columns + j];
    }
    return 0;
}
