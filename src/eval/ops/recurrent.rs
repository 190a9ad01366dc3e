//! Recurrent networks whose weights are packed, quantized as they run; single cells, and sequences of several lengths.
//!
//! The parameters of a packed cell are an object of PyTorch's class `rnn.CellParamsBase` with what its state holds: the kind, the biases,
//! scales, flags (of which the first says that the range of codes is reduced) and the two packed weights, of the input and of the state.
//! Biases stand in the packed weights too, and are taken from there. What a cell does with its gates is float arithmetic, step by step
//! as PyTorch's cells do it.

use indexmap::IndexMap;
use planish_ir::{Sym, Type};

use super::{Kernel, Table};
use crate::call::Call;
use crate::value::Object;
use crate::{Result, Tensor, Value};
use Kernel::{Many, One};

pub(super) const OPS: Table = &[
    (
        "quantized::make_quantized_cell_params_dynamic",
        One(make_dynamic),
    ),
    ("quantized::make_quantized_cell_params_fp16", One(make_half)),
    ("quantized::quantized_lstm_cell_dynamic", Many(one_cell)),
    ("quantized::quantized_gru_cell_dynamic", Many(one_cell)),
    ("quantized::quantized_rnn_relu_cell_dynamic", Many(one_cell)),
    ("quantized::quantized_rnn_tanh_cell_dynamic", Many(one_cell)),
    ("aten::lstm_cell", Many(one_cell)),
    ("aten::gru_cell", Many(one_cell)),
    ("aten::rnn_relu_cell", Many(one_cell)),
    ("aten::rnn_tanh_cell", Many(one_cell)),
    ("aten::lstm.data", Many(packed_sequences)),
    ("aten::gru.data", Many(packed_sequences)),
    ("aten::rnn_relu.data", Many(packed_sequences)),
    ("aten::rnn_tanh.data", Many(packed_sequences)),
    ("aten::quantized_lstm.input", Many(sequences)),
    ("aten::quantized_lstm.data", Many(packed_sequences)),
    ("aten::quantized_gru.input", Many(sequences)),
    ("aten::quantized_gru.data", Many(packed_sequences)),
];

/// PyTorch's class of a cell's parameters.
const CLASS: &str = "__torch__.torch.classes.rnn.CellParamsBase";

/// `make_quantized_cell_params_dynamic(w_ih, w_hh, b_ih, b_hh, reduce_range)`
fn make_dynamic(call: &Call<'_>) -> Result<Value> {
    let biases = [2, 3].map(|at| call.tensor(at).map(|bias| Value::from(bias.clone())));
    let [input, state] = biases;
    let reduced = Value::Int(i64::from(call.bool_or(4, false)?));
    params(
        call,
        "quantized_dynamic",
        vec![input?, state?],
        vec![reduced],
    )
}

/// `make_quantized_cell_params_fp16(w_ih, w_hh)`
fn make_half(call: &Call<'_>) -> Result<Value> {
    params(call, "quantized_fp16", Vec::new(), Vec::new())
}

fn params(call: &Call<'_>, kind: &str, biases: Vec<Value>, flags: Vec<Value>) -> Result<Value> {
    let [input, state] = [0, 1].map(|at| call.packed(at).map(|w| Value::Packed(w.clone())));
    let (input, state) = (input?, state?);
    let class = input.ty();
    let fields = [
        ("kind", Value::str(kind)),
        ("biases", Value::list(Type::TENSOR, biases)),
        ("scales", Value::list(Type::Float, [])),
        ("flags", Value::list(Type::Int, flags)),
        ("weights", Value::list(class, [input, state])),
    ];
    let fields: IndexMap<Sym, Value> = fields
        .into_iter()
        .map(|(name, value)| (Sym::new(name), value))
        .collect();
    Ok(Value::Object(Object::new(Sym::new(CLASS), fields)))
}

/// The kinds of cells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lstm,
    Gru,
    Relu,
    Tanh,
}

impl Kind {
    fn of(call: &Call<'_>) -> Self {
        match call.short_name() {
            name if name.contains("lstm") => Self::Lstm,
            name if name.contains("gru") => Self::Gru,
            name if name.contains("relu") => Self::Relu,
            _ => Self::Tanh,
        }
    }
}

/// The hidden state of a cell and, for an LSTM, what it remembers besides.
#[derive(Clone)]
struct State {
    hidden: Tensor,
    memory: Option<Tensor>,
}

/// A cell of a network.
struct Cell<'c, 'a> {
    call: &'c Call<'a>,
    kind: Kind,
    /// Weights of the input and of the state.
    weights: [Weight; 2],
    /// What makes the output of an LSTM narrower than what it remembers.
    project: Option<Value>,
}

/// What a linear map of a cell is.
enum Weight {
    /// A packed weight, and whether it reduces the range of codes.
    Packed(Value, bool),
    /// A packed weight of half precision.
    Half(Value),
    /// A matrix and a bias, or none.
    Float(Value, Value),
}

impl<'c, 'a> Cell<'c, 'a> {
    fn new(call: &'c Call<'a>, params: &Value) -> Result<Self> {
        let wrong = || call.wrong(2, "the parameters of cells");
        let Value::Object(object) = params else {
            return Err(wrong());
        };
        let list = |name: &str| match object.get(Sym::new(name)) {
            Some(Value::List(list)) => Some(list.to_vec()),
            Some(Value::Tuple(items)) => Some(items.to_vec()),
            _ => None,
        };
        let kind = object.get(Sym::new("kind"));
        let half = match kind {
            Some(Value::Str(kind)) if &*kind == "quantized_dynamic" => false,
            Some(Value::Str(kind)) if &*kind == "quantized_fp16" => true,
            _ => return Err(wrong()),
        };
        let weights = list("weights").and_then(|list| <[Value; 2]>::try_from(list).ok());
        let flags = list("flags").unwrap_or_default();
        let reduced = matches!(flags.first(), Some(Value::Int(1) | Value::Bool(true)));
        let weight = |value| {
            if half {
                Weight::Half(value)
            } else {
                Weight::Packed(value, reduced)
            }
        };
        Ok(Self {
            call,
            kind: Kind::of(call),
            weights: weights.ok_or_else(wrong)?.map(weight),
            project: None,
        })
    }

    fn linear(&self, x: &Tensor, which: usize) -> Result<Tensor> {
        let x = Value::from(x.clone());
        match &self.weights[which] {
            Weight::Packed(weight, reduced) => {
                let args = [x, weight.clone(), (*reduced).into()];
                self.run("quantized::linear_dynamic", &args)
            }
            Weight::Half(weight) => {
                self.run("quantized::linear_dynamic_fp16", &[x, weight.clone()])
            }
            Weight::Float(weight, bias) => {
                self.run("aten::linear", &[x, weight.clone(), bias.clone()])
            }
        }
    }

    fn run(&self, op: &str, args: &[Value]) -> Result<Tensor> {
        match self.call.other(op, args)? {
            Value::Tensor(tensor) => Ok(tensor),
            _ => Err(self.call.wrong(0, "tensors")),
        }
    }

    fn one(&self, op: &str, x: &Tensor) -> Result<Tensor> {
        self.run(op, &[x.clone().into()])
    }

    fn add(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.run(
            "aten::add.Tensor",
            &[a.clone().into(), b.clone().into(), Value::Int(1)],
        )
    }

    fn sub(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.run(
            "aten::sub.Tensor",
            &[a.clone().into(), b.clone().into(), Value::Int(1)],
        )
    }

    fn mul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.run("aten::mul.Tensor", &[a.clone().into(), b.clone().into()])
    }

    /// The next state, from what the weights make of the input.
    fn step(&self, input: &Tensor, state: &State) -> Result<State> {
        let own = self.linear(&state.hidden, 1)?;
        let only = |hidden| {
            Ok(State {
                hidden,
                memory: None,
            })
        };
        match (self.kind, &state.memory) {
            (Kind::Relu, _) => only(self.one("aten::relu", &self.add(&own, input)?)?),
            (Kind::Tanh, _) => only(self.one("aten::tanh", &self.add(&own, input)?)?),
            (Kind::Gru, _) => {
                let [reset, update, fresh] = gates::<3>(self.call, &own)?;
                let [to_reset, to_update, to_fresh] = gates::<3>(self.call, input)?;
                let reset = self.one("aten::sigmoid", &self.add(&reset, &to_reset)?)?;
                let update = self.one("aten::sigmoid", &self.add(&update, &to_update)?)?;
                let fresh = self.add(&to_fresh, &self.mul(&fresh, &reset)?)?;
                let fresh = self.one("aten::tanh", &fresh)?;
                let kept = self.mul(&self.sub(&state.hidden, &fresh)?, &update)?;
                only(self.add(&kept, &fresh)?)
            }
            (Kind::Lstm, Some(memory)) => {
                let [enter, forget, cell, leave] = gates::<4>(self.call, &self.add(&own, input)?)?;
                let (enter, forget) = (
                    self.one("aten::sigmoid", &enter)?,
                    self.one("aten::sigmoid", &forget)?,
                );
                let (cell, leave) = (
                    self.one("aten::tanh", &cell)?,
                    self.one("aten::sigmoid", &leave)?,
                );
                let memory = self.add(&self.mul(&forget, memory)?, &self.mul(&enter, &cell)?)?;
                let mut hidden = self.mul(&leave, &self.one("aten::tanh", &memory)?)?;
                if let Some(project) = &self.project {
                    let args = [hidden.into(), project.clone(), Value::None];
                    hidden = self.run("aten::linear", &args)?;
                }
                Ok(State {
                    hidden,
                    memory: Some(memory),
                })
            }
            (Kind::Lstm, None) => Err(self.call.wrong(1, "two states")),
        }
    }
}

/// A row of gates, side by side.
fn gates<const N: usize>(call: &Call<'_>, sums: &Tensor) -> Result<[Tensor; N]> {
    let (Some(dim), Some(width)) = (sums.rank().checked_sub(1), sums.shape().last()) else {
        return Err(call.wrong(0, "rows"));
    };
    let (size, rest) = (width / N as i64, width % N as i64);
    if rest != 0 {
        return Err(call.wrong(2, "weights of all gates"));
    }
    let parts = (0..N as i64).map(|at| sums.slice(dim, at * size, size, 1));
    let parts: Vec<Tensor> = parts.collect::<Result<_>>()?;
    <[Tensor; N]>::try_from(parts).map_err(|_| call.wrong(2, "weights of all gates"))
}

/// `quantized_lstm_cell_dynamic(input, hx, w_ih, w_hh, b_ih, b_hh)`
fn one_cell(call: &Call<'_>) -> Result<Vec<Value>> {
    let kind = Kind::of(call);
    let state = match kind {
        Kind::Lstm => pair(call, 1)?,
        _ => State {
            hidden: call.tensor(1)?.clone(),
            memory: None,
        },
    };
    let weight = |at: usize| match call.get(at) {
        Value::Packed(_) => Ok(Weight::Packed(call.get(at).clone(), true)),
        Value::Tensor(_) => Ok(Weight::Float(
            call.get(at).clone(),
            call.get(at + 2).clone(),
        )),
        _ => Err(call.wrong(at, "a weight")),
    };
    let cell = Cell {
        call,
        kind,
        weights: [weight(2)?, weight(3)?],
        project: None,
    };
    let next = cell.step(&cell.linear(call.tensor(0)?, 0)?, &state)?;
    let memory = next.memory.map(Value::from);
    Ok([next.hidden.into()].into_iter().chain(memory).collect())
}

/// Whether an LSTM of floats, whose states stand at `first`, has a weight for each direction of each layer that makes its output narrower.
pub(super) fn projects(call: &Call<'_>, first: usize) -> Result<bool> {
    let own = if call.bool(first + 2)? { 4 } else { 2 };
    let directions = 1 + i64::from(call.bool(first + 6)?);
    let cells = call.int(first + 3)?.checked_mul(directions);
    let given = call.items(first + 1)?.len() as i64;
    Ok(Kind::of(call) == Kind::Lstm
        && cells.and_then(|cells| cells.checked_mul(own + 1)) == Some(given))
}

/// The two states of an LSTM.
fn pair(call: &Call<'_>, index: usize) -> Result<State> {
    let states = call.tensors(index)?;
    match <[Tensor; 2]>::try_from(states) {
        Ok([hidden, memory]) => Ok(State {
            hidden,
            memory: Some(memory),
        }),
        Err(_) => Err(call.wrong(index, "two states")),
    }
}

/// `quantized_lstm(input, hx, params, has_biases, layers, dropout, train, bidirectional, batch_first)`
pub(super) fn sequences(call: &Call<'_>) -> Result<Vec<Value>> {
    let input = call.tensor(0)?;
    if input.rank() != 3 {
        return Err(call.wrong(0, "a batch of sequences"));
    }
    let first = call.bool_or(8, false)?;
    let time_first = if first {
        input.transpose(0, 1)?
    } else {
        input.clone()
    };
    let (steps, batch) = (time_first.shape()[0], time_first.shape()[1]);
    let batches = vec![batch; steps as usize];
    let mut results = Network::new(call, 1)?.run(&time_first, &batches)?;
    if let (true, Some(Value::Tensor(output))) = (first, results.first_mut()) {
        *output = output.transpose(0, 1)?;
    }
    Ok(results)
}

/// `quantized_lstm(data, batch_sizes, hx, params, has_biases, layers, dropout, train, bidirectional)`: sequences of several lengths, the
/// longest first, one step after the other.
fn packed_sequences(call: &Call<'_>) -> Result<Vec<Value>> {
    let (data, sizes) = (call.tensor(0)?, call.tensor(1)?.to_i64()?);
    let falls = sizes.windows(2).all(|pair| pair[0] >= pair[1]);
    let sum = sizes
        .iter()
        .try_fold(0i64, |sum, size| sum.checked_add(*size));
    let whole = data.rank() == 2 && sum == Some(data.shape()[0]);
    if !whole || !falls || sizes.iter().any(|size| *size < 1) {
        return Err(call.wrong(1, "falling sizes of batches that make up the data"));
    }
    Network::new(call, 2)?.run(data, &sizes)
}

/// Layers of cells.
struct Network<'c, 'a> {
    call: &'c Call<'a>,
    /// One cell for each direction of each layer.
    cells: Vec<Cell<'c, 'a>>,
    /// The first states, `[cells, batch, size]`.
    states: State,
    directions: usize,
}

impl<'c, 'a> Network<'c, 'a> {
    /// The states stand at `first`, parameters and settings behind them.
    fn new(call: &'c Call<'a>, first: usize) -> Result<Self> {
        if call.bool_or(first + 5, false)? && call.float(first + 4)? != 0.0 {
            return Err(call.unsupported("in training"));
        }
        let directions = 1 + usize::from(call.bool(first + 6)?);
        let params = call.items(first + 1)?;
        let cells: Vec<Cell<'c, 'a>> = if let Some(Value::Tensor(_)) = params.first() {
            let own = if call.bool(first + 2)? { 4 } else { 2 };
            let each = own + usize::from(projects(call, first)?);
            let bias = |cell: &[Value], at: usize| match own {
                4 => cell[at].clone(),
                _ => Value::None,
            };
            let weights = |cell: &[Value]| {
                [0, 1].map(|at| Weight::Float(cell[at].clone(), bias(cell, at + 2)))
            };
            let cell = |cell: &[Value]| Cell {
                call,
                kind: Kind::of(call),
                weights: weights(cell),
                project: cell.get(own).cloned(),
            };
            params.chunks_exact(each).map(cell).collect()
        } else {
            let cells = params.iter().map(|params| Cell::new(call, params));
            cells.collect::<Result<_>>()?
        };
        let states = match Kind::of(call) {
            Kind::Lstm => pair(call, first)?,
            _ => State {
                hidden: call.tensor(first)?.clone(),
                memory: None,
            },
        };
        let layers = usize::try_from(call.int(first + 3)?).ok();
        let fits = layers.and_then(|layers| layers.checked_mul(directions)) == Some(cells.len())
            && [Some(&states.hidden), states.memory.as_ref()]
                .into_iter()
                .flatten()
                .all(|state| state.rank() == 3 && state.shape()[0] == cells.len() as i64);
        if !fits || cells.is_empty() {
            return Err(call.wrong(first + 1, "the parameters and states of every layer"));
        }
        Ok(Self {
            call,
            cells,
            states,
            directions,
        })
    }

    /// Runs all layers; gives the outputs of the last one and the final states. `sizes` are the batches of the steps, which never grow:
    /// steps are the first dimension of the input, or stand one after the other in its rows.
    fn run(self, input: &Tensor, sizes: &[i64]) -> Result<Vec<Value>> {
        let mut rows = input.clone();
        let mut ends: Vec<State> = Vec::new();
        for layer in 0..self.cells.len() / self.directions {
            let mut ways = Vec::new();
            for way in 0..self.directions {
                let at = layer * self.directions + way;
                let (outputs, end) = self.layer(&rows, sizes, at, way == 1)?;
                ways.push(outputs);
                ends.push(end);
            }
            rows = match <[Tensor; 1]>::try_from(ways) {
                Ok([only]) => only,
                Err(ways) => joined(self.call, "aten::cat", ways, -1)?,
            };
        }
        let memories: Option<Vec<Tensor>> = ends.iter().map(|end| end.memory.clone()).collect();
        let hidden = ends.into_iter().map(|end| end.hidden).collect();
        let mut results = vec![
            rows.into(),
            joined(self.call, "aten::stack", hidden, 0)?.into(),
        ];
        if let Some(memories) = memories {
            results.push(joined(self.call, "aten::stack", memories, 0)?.into());
        }
        Ok(results)
    }

    /// One direction of a layer: its outputs, laid out as the input, and its final state.
    fn layer(
        &self,
        input: &Tensor,
        sizes: &[i64],
        at: usize,
        back: bool,
    ) -> Result<(Tensor, State)> {
        let cell = &self.cells[at];
        // The whole input at once: its parameters of quantization are those of all steps.
        let made = cell.linear(input, 0)?;
        let pick = |tensor: &Tensor| tensor.select(0, at as i64);
        let mut state = State {
            hidden: pick(&self.states.hidden)?,
            memory: self.states.memory.as_ref().map(pick).transpose()?,
        };
        let batch = state.hidden.shape()[0];
        if sizes.first().is_some_and(|first| *first != batch) {
            return Err(self.call.wrong(1, "a state for each sequence"));
        }
        let mut outputs = Vec::new();
        let steps: Vec<usize> = if back {
            (0..sizes.len()).rev().collect()
        } else {
            (0..sizes.len()).collect()
        };
        for time in steps {
            let size = sizes[time];
            let step = if made.rank() == 3 {
                made.select(0, time as i64)?
            } else {
                made.slice(0, sizes[..time].iter().sum(), size, 1)?
            };
            let part = |tensor: &Tensor| tensor.slice(0, 0, size, 1);
            let running = State {
                hidden: part(&state.hidden)?,
                memory: state.memory.as_ref().map(part).transpose()?,
            };
            let next = cell.step(&step, &running)?;
            outputs.push(next.hidden.clone());
            // Sequences that have ended, or not begun, keep their states.
            let rest = |next: Tensor, old: &Tensor| match batch - size {
                0 => Ok(next),
                count => {
                    let old = old.slice(0, size, count, 1)?;
                    joined(self.call, "aten::cat", vec![next, old], 0)
                }
            };
            state = State {
                hidden: rest(next.hidden, &state.hidden)?,
                memory: match (next.memory, &state.memory) {
                    (Some(next), Some(old)) => Some(rest(next, old)?),
                    _ => None,
                },
            };
        }
        if outputs.is_empty() {
            return Err(self.call.wrong(0, "at least one step"));
        }
        if back {
            outputs.reverse();
        }
        let how = if made.rank() == 3 {
            "aten::stack"
        } else {
            "aten::cat"
        };
        Ok((joined(self.call, how, outputs, 0)?, state))
    }
}

fn joined(call: &Call<'_>, how: &str, parts: Vec<Tensor>, dim: i64) -> Result<Tensor> {
    let parts = parts.into_iter().map(Value::from);
    match call.other(how, &[Value::list(Type::TENSOR, parts), Value::Int(dim)])? {
        Value::Tensor(tensor) => Ok(tensor),
        _ => Err(call.wrong(0, "tensors")),
    }
}
