//! Distillation and the moving average of weights, by hand.

use crate::common::{Ad, assert_close, bits, for_each_backend, random_tensor, tensor, values};
use bitnet::{loss::distillation, optim::moving_average};
use burn::{
    module::Param,
    nn::{Linear, LinearConfig},
    tensor::{Tensor, backend::Backend},
};

for_each_backend!(
    two_tokens_by_hand,
    the_own_predictions_teach_nothing,
    averages_by_hand,
    other_parameters_stay,
);

fn two_tokens_by_hand<B: Backend>() {
    // At temperature 2 the teacher's logits are ln 3 and 0: ¾ and ¼. The student has ½ and ½, and
    // of the second token both have.
    let student = Tensor::<Ad<B>, 3>::zeros([1, 2, 2], &Default::default()).require_grad();
    let teacher = tensor(&[2.0 * 3f32.ln(), 0.0, 7.0, 7.0], [1, 2, 2]);
    let loss = distillation(student.clone(), teacher, 2.0);
    let divergence = 0.75 * 1.5f32.ln() - 0.25 * 2f32.ln();
    assert_close(&values(loss.clone()), &[4.0 * divergence / 2.0], 1e-6, "loss");
    // T · (softmax of the student − of the teacher), over two tokens.
    let grads = loss.backward();
    let expected = [-0.25, 0.25, 0.0, 0.0];
    assert_close(&values(student.grad(&grads).unwrap()), &expected, 1e-6, "gradient");
}

fn the_own_predictions_teach_nothing<B: Backend>() {
    let logits: Tensor<Ad<B>, 3> = random_tensor(3, [2, 3, 5], 4.0);
    let student = logits.clone().detach().require_grad();
    let loss = distillation(student.clone(), logits.detach(), 3.0);
    assert!(values(loss.clone())[0].abs() < 1e-6);
    let grads = loss.backward();
    assert!(values(student.grad(&grads).unwrap()).iter().all(|grad| grad.abs() < 1e-6));
}

fn linear<B: Backend>(weight: [f32; 2], bias: f32) -> Linear<B> {
    let mut module = LinearConfig::new(2, 1).init(&Default::default());
    module.weight = Param::from_tensor(tensor(&weight, [2, 1]));
    module.bias = Some(Param::from_tensor(tensor(&[bias], [1])));
    module
}

fn averages_by_hand<B: Backend>() {
    let average = linear::<B>([1.0, -2.0], 4.0);
    let mut module = average.clone();
    module.weight = module.weight.map(|weight| weight.mul_scalar(5.0));
    module.bias = module.bias.map(|bias| bias.map(|bias| bias.add_scalar(8.0)));
    let average = moving_average(average, &module, 0.75);
    assert_eq!(values(average.weight.val()), [2.0, -4.0]);
    assert_eq!(values(average.bias.as_ref().unwrap().val()), [6.0]);
    let again = moving_average(average, &module, 0.5);
    assert_eq!(values(again.weight.val()), [3.5, -7.0]);
}

fn other_parameters_stay<B: Backend>() {
    let average = linear::<B>([1.0, -2.0], 4.0);
    let stranger = linear::<B>([9.0, 9.0], 9.0);
    let kept = moving_average(average.clone(), &stranger, 0.5);
    assert_eq!(bits(&values(kept.weight.val())), bits(&values(average.weight.val())));
}
