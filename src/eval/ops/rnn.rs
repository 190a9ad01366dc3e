//! Recurrent networks of floats, outside of training.
//!
//! Sums are taken in `f64` and rounded once per gate; PyTorch leaves them to oneDNN, whose order is not known.

use planish_ir::Dims;

use super::{Kernel, Table, recurrent};
use crate::call::Call;
use crate::{MemoryFormat, Result, Tensor, Value};
use Kernel::Many;

pub(super) const OPS: Table = &[
    ("aten::lstm.input", Many(lstm)),
    ("aten::gru.input", Many(gru)),
    ("aten::rnn_tanh.input", Many(rnn)),
    ("aten::rnn_relu.input", Many(rnn)),
];

/// The state of a cell: what it puts out, and what it remembers besides.
#[derive(Clone)]
struct State {
    hidden: Vec<f32>,
    memory: Vec<f32>,
}

/// A step of a cell: from the sums of the gates (of the input, of the state) to the next state.
type Step = fn(&[f64], &[f64], &mut State);

/// The weights of one direction of one layer.
struct Layer {
    input: Matrix,
    hidden: Matrix,
}

/// A weight `[rows, columns]` and its bias.
struct Matrix {
    weight: Vec<f32>,
    bias: Vec<f64>,
    columns: usize,
}

impl Matrix {
    /// The product with a vector, plus the bias.
    fn apply(&self, x: &[f32]) -> Vec<f64> {
        let rows = self.weight.chunks_exact(self.columns);
        rows.zip(&self.bias)
            .map(|(row, bias)| dot(row, x) + bias)
            .collect()
    }
}

/// `lstm(input, [h, c], weights, biases?, layers, dropout, train, bidirectional, batch_first)`
fn lstm(call: &Call<'_>) -> Result<Vec<Value>> {
    let states = call.tensors(1)?;
    let [hidden, memory] = &states[..] else {
        return Err(call.wrong(1, "two states"));
    };
    if recurrent::projects(call, 1)? {
        // PyTorch keeps it from oneDNN, and runs cell by cell.
        return recurrent::sequences(call);
    }
    let network = Network::new(call, hidden, Some(memory), 4)?;
    let (output, hidden, memory) = network.run(call, |input, state, next| {
        let size = next.hidden.len();
        for at in 0..size {
            let gate = |nth: usize| input[nth * size + at] + state[nth * size + at];
            let kept = logistic(gate(1)) * f64::from(next.memory[at]);
            let memory = kept + logistic(gate(0)) * gate(2).tanh();
            next.memory[at] = memory as f32;
            next.hidden[at] = (logistic(gate(3)) * memory.tanh()) as f32;
        }
    })?;
    Ok(vec![output.into(), hidden.into(), memory.into()])
}

/// `gru(input, h, weights, biases?, layers, dropout, train, bidirectional, batch_first)`
fn gru(call: &Call<'_>) -> Result<Vec<Value>> {
    let network = Network::new(call, call.tensor(1)?, None, 3)?;
    let (output, hidden, _) = network.run(call, |input, state, next| {
        let size = next.hidden.len();
        for at in 0..size {
            let gate = |nth: usize| input[nth * size + at] + state[nth * size + at];
            let (reset, update) = (logistic(gate(0)), logistic(gate(1)));
            let fresh = (input[2 * size + at] + reset * state[2 * size + at]).tanh();
            let old = f64::from(next.hidden[at]);
            next.hidden[at] = (fresh + update * (old - fresh)) as f32;
        }
    })?;
    Ok(vec![output.into(), hidden.into()])
}

fn rnn(call: &Call<'_>) -> Result<Vec<Value>> {
    let network = Network::new(call, call.tensor(1)?, None, 1)?;
    let step: Step = if call.short_name() == "rnn_relu" {
        |input, state, next| simple(input, state, next, |x| x.max(0.0))
    } else {
        |input, state, next| simple(input, state, next, f64::tanh)
    };
    let (output, hidden, _) = network.run(call, step)?;
    Ok(vec![output.into(), hidden.into()])
}

fn simple(input: &[f64], state: &[f64], next: &mut State, f: impl Fn(f64) -> f64) {
    for ((value, input), state) in next.hidden.iter_mut().zip(input).zip(state) {
        *value = f(input + state) as f32;
    }
}

/// A sum of products: eight sums side by side, whose order `f64` hides from all but the last bits of an `f32`.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0f64; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = left.remainder().iter().zip(right.remainder());
    let rest: f64 = rest.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    for (a, b) in left.zip(right) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += f64::from(*a) * f64::from(*b);
        }
    }
    sums.iter().sum::<f64>() + rest
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A recurrent network and its initial states, `[layers · directions][batch]`.
struct Network {
    /// `[time][batch]` rows of inputs.
    input: Vec<f32>,
    layers: Vec<Vec<Layer>>,
    states: Vec<Vec<State>>,
    steps: usize,
    batch: usize,
    size: usize,
    batch_first: bool,
}

impl Network {
    /// Reads the arguments; each cell has `gates` gates.
    fn new(call: &Call<'_>, hidden: &Tensor, memory: Option<&Tensor>, gates: i64) -> Result<Self> {
        let (biases, count) = (call.bool(3)?, call.int(4)?);
        if call.bool(6)? && call.float(5)? != 0.0 {
            return Err(call.unsupported("in training"));
        }
        let (both, batch_first) = (call.bool(7)?, call.bool(8)?);
        let input = call.tensor(0)?;
        let ([_, _, width], [states, batch, size]) = (input.shape(), hidden.shape()) else {
            return Err(call.wrong(0, "a batch of sequences"));
        };
        let input = if batch_first {
            input.transpose(0, 1)?
        } else {
            input.clone()
        };
        let directions = if both { 2 } else { 1 };
        let each = if biases { 4 } else { 2 };
        let weights = call.tensors(2)?;
        let fits = input.shape()[1] == *batch
            && Some(*states) == count.checked_mul(directions)
            && weights.len() as i64 == states * each
            && memory.is_none_or(|memory| memory.shape() == hidden.shape())
            && *width > 0
            && *size > 0;
        if !fits {
            return Err(call.wrong(2, "the weights and states of every layer"));
        }
        let mut width = *width;
        let mut layers = Vec::new();
        for layer in weights.chunks_exact((each * directions) as usize) {
            let ways = layer.chunks_exact(each as usize).map(|way| {
                let matrix = |at: usize, columns: i64| {
                    let rows = gates * size;
                    if way[at].shape() != [rows, columns] {
                        return Err(call.wrong(2, "matrices that fit the states"));
                    }
                    let bias = match biases.then(|| &way[at + 2]) {
                        Some(bias) if bias.shape() == [rows] => bias.to_f64()?,
                        Some(_) => return Err(call.wrong(2, "biases that fit the states")),
                        None => vec![0.0; rows as usize],
                    };
                    Ok(Matrix {
                        weight: way[at].to_f32()?,
                        bias,
                        columns: columns as usize,
                    })
                };
                Ok(Layer {
                    input: matrix(0, width)?,
                    hidden: matrix(1, *size)?,
                })
            });
            layers.push(ways.collect::<Result<Vec<_>>>()?);
            width = size * directions;
        }
        let size = *size as usize;
        let rows = |tensor: &Tensor| -> Result<Vec<Vec<f32>>> {
            Ok(tensor
                .to_f32()?
                .chunks_exact(size)
                .map(<[f32]>::to_vec)
                .collect())
        };
        let hidden = rows(hidden)?;
        let memory = match memory {
            Some(memory) => rows(memory)?,
            None => vec![Vec::new(); hidden.len()],
        };
        let all = hidden.into_iter().zip(memory);
        let all: Vec<State> = all
            .map(|(hidden, memory)| State { hidden, memory })
            .collect();
        let batch = *batch as usize;
        Ok(Self {
            steps: input.shape()[0] as usize,
            input: input.to_f32()?,
            layers,
            states: all
                .chunks_exact(batch.max(1))
                .map(<[State]>::to_vec)
                .collect(),
            batch,
            size,
            batch_first,
        })
    }

    /// Runs all layers; gives the outputs of the last one and the final states.
    fn run(self, call: &Call<'_>, step: Step) -> Result<(Tensor, Tensor, Tensor)> {
        let mut states = self.states.into_iter();
        let mut rows: Vec<Vec<f32>> = match self.steps * self.batch {
            0 => Vec::new(),
            count => self
                .input
                .chunks_exact(self.input.len() / count)
                .map(<[f32]>::to_vec)
                .collect(),
        };
        let mut last = Vec::new();
        for layer in &self.layers {
            let mut next = vec![Vec::new(); rows.len()];
            for (way, weights) in layer.iter().enumerate() {
                let mut state = states.next().unwrap_or_default();
                for time in 0..self.steps {
                    let time = if way == 1 {
                        self.steps - 1 - time
                    } else {
                        time
                    };
                    for (item, state) in state.iter_mut().enumerate() {
                        let row = &rows[time * self.batch + item];
                        call.work(weights.input.weight.len() + weights.hidden.weight.len())?;
                        let input = weights.input.apply(row);
                        let own = weights.hidden.apply(&state.hidden);
                        step(&input, &own, state);
                        next[time * self.batch + item].extend_from_slice(&state.hidden);
                    }
                }
                last.extend(state);
            }
            rows = next;
        }
        let width = rows.first().map_or(self.size, Vec::len) as i64;
        let (steps, batch, size) = (self.steps as i64, self.batch as i64, self.size as i64);
        let output = tensor(&[steps, batch, width], rows.iter().flatten())?;
        let output = if self.batch_first {
            output.transpose(0, 1)?
        } else {
            output
        };
        let shape = [(last.len() / self.batch.max(1)) as i64, batch, size];
        let hidden = tensor(&shape, last.iter().flat_map(|state| &state.hidden))?;
        let memory = match last.first() {
            Some(state) if !state.memory.is_empty() => {
                tensor(&shape, last.iter().flat_map(|state| &state.memory))?
            }
            _ => hidden.clone(),
        };
        Ok((output, hidden, memory))
    }
}

fn tensor<'a>(shape: &[i64], values: impl Iterator<Item = &'a f32>) -> Result<Tensor> {
    let shape: Dims = shape.into();
    let strides = MemoryFormat::Contiguous.strides(&shape);
    let values: Vec<f32> = values.copied().collect();
    Tensor::from_slice(planish_ir::DType::Float, &shape, &strides, &values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::{Op, Type};

    #[test]
    fn an_lstm_with_zero_weights_halves_its_memory() {
        let tensor = |shape: &[i64], value: f32| -> Value {
            let count = shape.iter().product::<i64>() as usize;
            Tensor::from_values(shape, &vec![value; count])
                .unwrap()
                .into()
        };
        let states = [tensor(&[1, 2, 3], 0.0), tensor(&[1, 2, 3], 1.0)];
        let weights = [tensor(&[12, 5], 0.0), tensor(&[12, 3], 0.0)];
        let inputs = [
            tensor(&[2, 4, 5], 1.0),
            Value::list(Type::TENSOR, states),
            Value::list(Type::TENSOR, weights),
            false.into(),
            Value::Int(1),
            Value::Float(0.0),
            false.into(),
            false.into(),
            true.into(),
        ];
        let out = apply(Op::of("aten::lstm.input"), &inputs, Contract::Fbgemm).unwrap();
        let out: Vec<&Tensor> = out.iter().map(|value| value.as_tensor().unwrap()).collect();
        assert_eq!(
            (out[0].shape(), out[2].shape()),
            (&[2, 4, 3][..], &[1, 2, 3][..])
        );
        assert_eq!(out[2].to_f32().unwrap(), [1.0 / 16.0; 6]);
    }
}
