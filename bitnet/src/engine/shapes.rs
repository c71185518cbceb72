use crate::{
    nn::{BitNetTransformerConfig, schema::LinearRole},
    packed::MatrixShape,
};

/// The linears of a block that are multiplied together: queries, keys and values; the output
/// projection; gate and up projection; the down projection.
pub(super) fn matrices(config: &BitNetTransformerConfig) -> [&'static [LinearRole]; 4] {
    use LinearRole::{Down, Gate, Keys, Output, Queries, Up, Values};
    let hidden: &[LinearRole] = if config.feed_forward.is_gated() { &[Gate, Up] } else { &[Up] };
    [&[Queries, Keys, Values], &[Output], hidden, &[Down]]
}

/// Sizes of the matrix that joins linears of the same inputs.
pub(super) fn matrix_shape(
    linears: &[LinearRole],
    config: &BitNetTransformerConfig,
) -> MatrixShape {
    let shapes = linears.iter().map(|role| role.shape(config));
    let (inputs, outputs) =
        shapes.fold((0, 0), |(_, sum), [inputs, outputs]| (inputs, sum + outputs));
    let groups = config.group_size.map_or(1, |size| inputs / size);
    MatrixShape { inputs, outputs, groups }
}
