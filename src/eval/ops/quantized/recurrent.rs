//! Recurrent networks and cells whose linear maps are quantized on each run.
//!
//! The maps of a whole sequence of inputs are one map, with one scale; those of the states are one for each step. What is between them is
//! done in floats.

use planish_ir::{DType, Op, PackedKind, Sym};

use crate::call::Call;
use crate::ops::{Kernel, Table, find};
use crate::{Error, Result, Tensor, Value};
use Kernel::{Many, One};

pub(in crate::ops) const OPS: Table = &[
    ("aten::quantized_lstm.input", Many(lstm)),
    ("aten::quantized_gru.input", Many(gru)),
    ("quantized::quantized_lstm_cell_dynamic", Many(lstm_cell)),
    ("quantized::quantized_gru_cell_dynamic", One(cell)),
    ("quantized::quantized_rnn_relu_cell_dynamic", One(cell)),
    ("quantized::quantized_rnn_tanh_cell_dynamic", One(cell)),
];

/// What a cell puts out, and what it remembers besides.
#[derive(Clone, Default)]
struct State {
    hidden: Vec<f32>,
    memory: Vec<f32>,
}

/// A step of a cell: from the gates (of the input, of the state) to the next state.
type Step = fn(&[f32], &[f32], &mut State);

/// The packed weights of a cell.
struct Cell {
    input: Value,
    hidden: Value,
    reduced: bool,
}

impl Cell {
    /// Reads an object of class `CellParamsBase`.
    fn of(call: &Call<'_>, value: &Value) -> Result<Self> {
        let wrong = || call.wrong(2, "packed weights of cells");
        let Value::Object(object) = value else {
            return Err(wrong());
        };
        let field = |name: &str| object.get(Sym::new(name)).ok_or_else(wrong);
        let items = |value: Value| match value {
            Value::List(list) => Ok(list.to_vec()),
            _ => Err(wrong()),
        };
        let [input, hidden] = &items(field("weights")?)?[..] else {
            return Err(wrong());
        };
        let flags = items(field("flags")?)?;
        Ok(Self {
            input: input.clone(),
            hidden: hidden.clone(),
            reduced: flags.first().and_then(Value::as_int) == Some(1),
        })
    }

    /// Runs over rows `[steps, batch, width]`, from the last one if `backward`; gives the states' outputs, step by step.
    fn run(
        &self,
        call: &Call<'_>,
        rows: &Tensor,
        states: &mut [State],
        backward: bool,
        step: Step,
    ) -> Result<Vec<Vec<f32>>> {
        let steps = rows.shape()[0] as usize;
        let inputs = self.map(call, &self.input, rows)?;
        let mut outputs = vec![Vec::new(); steps];
        for at in 0..steps {
            let at = if backward { steps - 1 - at } else { at };
            let hidden: Vec<f32> = states.iter().flat_map(|s| s.hidden.clone()).collect();
            let shape = [states.len() as i64, states[0].hidden.len() as i64];
            let hidden = Tensor::from_values(&shape, &hidden)?;
            let own = self.map(call, &self.hidden, &hidden)?;
            let width = own.len() / states.len();
            let inputs = inputs[at * own.len()..].chunks_exact(width);
            for ((state, input), own) in states.iter_mut().zip(inputs).zip(own.chunks_exact(width))
            {
                step(input, own, state);
                outputs[at].extend_from_slice(&state.hidden);
            }
        }
        Ok(outputs)
    }

    /// One of the two linear maps.
    fn map(&self, call: &Call<'_>, packed: &Value, rows: &Tensor) -> Result<Vec<f32>> {
        let half = matches!(packed, Value::Packed(p) if p.kind == PackedKind::LinearFp16);
        let (op, args) = if half {
            let args = vec![rows.clone().into(), packed.clone()];
            (Op::of("quantized::linear_dynamic_fp16"), args)
        } else {
            let args = vec![rows.clone().into(), packed.clone(), self.reduced.into()];
            (Op::of("quantized::linear_dynamic"), args)
        };
        let Some(One(run)) = find(op) else {
            return Err(Error::Unsupported(format!("the operator {op}")));
        };
        let out = run(&Call {
            op,
            args: &args,
            contract: call.contract,
            work: call.work,
        })?;
        match out.as_tensor() {
            Some(tensor) => tensor.to_f32(),
            None => Err(call.wrong(2, "packed weights of cells")),
        }
    }
}

/// `quantized_lstm(input, [h, c], cells, biases?, layers, dropout, train, bidirectional, batch_first, …)`
fn lstm(call: &Call<'_>) -> Result<Vec<Value>> {
    let states = call.tensors(1)?;
    let [hidden, memory] = &states[..] else {
        return Err(call.wrong(1, "two states"));
    };
    let (output, states) = network(call, hidden, Some(memory), 4, lstm_step)?;
    let memory = states.iter().flatten().flat_map(|s| s.memory.clone());
    let memory = Tensor::from_values(hidden.shape(), &memory.collect::<Vec<_>>())?;
    let last = last_hidden(hidden, &states)?;
    Ok(vec![output.into(), last.into(), memory.into()])
}

/// `quantized_gru(input, h, cells, biases?, layers, dropout, train, bidirectional, batch_first)`
fn gru(call: &Call<'_>) -> Result<Vec<Value>> {
    let hidden = call.tensor(1)?;
    let (output, states) = network(call, hidden, None, 3, gru_step)?;
    let last = last_hidden(hidden, &states)?;
    Ok(vec![output.into(), last.into()])
}

fn last_hidden(like: &Tensor, states: &[Vec<State>]) -> Result<Tensor> {
    let hidden = states.iter().flatten().flat_map(|s| s.hidden.clone());
    Tensor::from_values(like.shape(), &hidden.collect::<Vec<_>>())
}

/// All layers of a network: its output, and the last states of every layer and direction.
fn network(
    call: &Call<'_>,
    hidden: &Tensor,
    memory: Option<&Tensor>,
    gates: i64,
    step: Step,
) -> Result<(Tensor, Vec<Vec<State>>)> {
    if call.bool(6)? && call.float(5)? != 0.0 {
        return Err(call.unsupported("in training"));
    }
    let (directions, batch_first) = (if call.bool(7)? { 2 } else { 1 }, call.bool(8)?);
    let cells = call.items(2)?;
    let cells = cells.iter().map(|value| Cell::of(call, value));
    let cells: Vec<Cell> = cells.collect::<Result<_>>()?;
    let input = call.tensor(0)?;
    let ([_, _, _], &[count, batch, _]) = (input.shape(), hidden.shape()) else {
        return Err(call.wrong(0, "a batch of sequences"));
    };
    let mut rows = if batch_first {
        input.transpose(0, 1)?
    } else {
        input.clone()
    };
    let fits = rows.shape()[1] == batch
        && batch > 0
        && count == cells.len() as i64
        && Some(count) == call.int(4)?.checked_mul(directions)
        && memory.is_none_or(|memory| memory.shape() == hidden.shape());
    if !fits {
        return Err(call.wrong(2, "the weights and states of every layer"));
    }
    let mut states = Vec::new();
    for layer in 0..count {
        let memory = memory.map(|memory| memory.select(0, layer)).transpose()?;
        states.push(initial(&hidden.select(0, layer)?, memory.as_ref())?);
    }
    for (cells, states) in cells
        .chunks_exact(directions as usize)
        .zip(states.chunks_exact_mut(directions as usize))
    {
        let (steps, mut width) = (rows.shape()[0], 0);
        let mut outputs = Vec::new();
        for (way, (cell, states)) in cells.iter().zip(states).enumerate() {
            fitting(call, cell, rows.shape()[2], states, gates)?;
            width += states[0].hidden.len();
            outputs.push(cell.run(call, &rows, states, way == 1, step)?);
        }
        let mut joined = Vec::new();
        for at in 0..steps as usize {
            for item in 0..batch as usize {
                for way in &outputs {
                    let size = way[at].len() / batch as usize;
                    joined.extend_from_slice(&way[at][item * size..(item + 1) * size]);
                }
            }
        }
        rows = Tensor::from_values(&[steps, batch, width as i64], &joined)?;
    }
    let output = if batch_first {
        rows.transpose(0, 1)?
    } else {
        rows
    };
    Ok((output, states))
}

/// The states `[batch, size]` at the beginning.
fn initial(hidden: &Tensor, memory: Option<&Tensor>) -> Result<Vec<State>> {
    let size = (hidden.shape()[1] as usize).max(1);
    let memory = memory.map(Tensor::to_f32).transpose()?.unwrap_or_default();
    let hidden = hidden.to_f32()?;
    let states = hidden.chunks_exact(size).enumerate();
    let states = states.map(|(item, hidden)| State {
        hidden: hidden.to_vec(),
        memory: memory
            .get(item * size..(item + 1) * size)
            .unwrap_or_default()
            .to_vec(),
    });
    Ok(states.collect())
}

/// Refuses weights that do not make `gates` gates of an input and of a state.
fn fitting(call: &Call<'_>, cell: &Cell, width: i64, states: &[State], gates: i64) -> Result<()> {
    let size = states.first().map_or(0, |state| state.hidden.len() as i64);
    let fits = |packed: &Value, columns: i64| match packed {
        Value::Packed(packed) => packed.weight.shape() == [gates * size, columns],
        _ => false,
    };
    if size > 0 && fits(&cell.input, width) && fits(&cell.hidden, size) {
        return Ok(());
    }
    Err(call.wrong(2, "weights that fit the input and the states"))
}

/// `quantized_lstm_cell_dynamic(input, [h, c], w_ih, w_hh, b_ih, b_hh)`; the biases stand in the packed weights.
fn lstm_cell(call: &Call<'_>) -> Result<Vec<Value>> {
    let states = call.tensors(1)?;
    let [hidden, memory] = &states[..] else {
        return Err(call.wrong(1, "two states"));
    };
    let states = one_step(call, hidden, Some(memory), 4, lstm_step)?;
    let memory: Vec<f32> = states.iter().flat_map(|s| s.memory.clone()).collect();
    let memory = Tensor::from_values(hidden.shape(), &memory)?;
    let hidden = last_hidden(hidden, &[states])?;
    Ok(vec![hidden.into(), memory.into()])
}

/// The cells with one state: `cell(input, h, w_ih, w_hh, b_ih, b_hh)`.
fn cell(call: &Call<'_>) -> Result<Value> {
    let (gates, step): (i64, Step) = match call.short_name() {
        "quantized_gru_cell_dynamic" => (3, gru_step),
        "quantized_rnn_relu_cell_dynamic" => (1, |input, own, next| {
            simple(input, own, next, |x| x.max(0.0));
        }),
        _ => (1, |input, own, next| simple(input, own, next, f32::tanh)),
    };
    let hidden = call.tensor(1)?;
    let states = one_step(call, hidden, None, gates, step)?;
    Ok(last_hidden(hidden, &[states])?.into())
}

fn one_step(
    call: &Call<'_>,
    hidden: &Tensor,
    memory: Option<&Tensor>,
    gates: i64,
    step: Step,
) -> Result<Vec<State>> {
    let input = call.tensor(0)?;
    let cell = Cell {
        input: call.get(2).clone(),
        hidden: call.get(3).clone(),
        reduced: true,
    };
    let fits = input.rank() == 2
        && hidden.rank() == 2
        && hidden.dtype() == DType::Float
        && input.shape()[0] == hidden.shape()[0]
        && memory.is_none_or(|memory| memory.shape() == hidden.shape());
    if !fits {
        return Err(call.wrong(1, "a state for each input"));
    }
    let mut states = initial(hidden, memory)?;
    fitting(call, &cell, input.shape()[1], &states, gates)?;
    cell.run(call, &input.unsqueeze(0)?, &mut states, false, step)?;
    Ok(states)
}

fn lstm_step(input: &[f32], own: &[f32], next: &mut State) {
    let size = next.hidden.len();
    for at in 0..size {
        let gate = |nth: usize| own[nth * size + at] + input[nth * size + at];
        let memory = logistic(gate(1)) * next.memory[at] + logistic(gate(0)) * gate(2).tanh();
        next.memory[at] = memory;
        next.hidden[at] = logistic(gate(3)) * memory.tanh();
    }
}

fn gru_step(input: &[f32], own: &[f32], next: &mut State) {
    let size = next.hidden.len();
    for at in 0..size {
        let gate = |nth: usize| logistic(own[nth * size + at] + input[nth * size + at]);
        let fresh = (input[2 * size + at] + own[2 * size + at] * gate(0)).tanh();
        next.hidden[at] = (next.hidden[at] - fresh) * gate(1) + fresh;
    }
}

fn simple(input: &[f32], own: &[f32], next: &mut State, f: impl Fn(f32) -> f32) {
    for ((value, input), own) in next.hidden.iter_mut().zip(input).zip(own) {
        *value = f(own + input);
    }
}

fn logistic(x: f32) -> f32 {
    (1.0 / (1.0 + f64::from(-x).exp())) as f32
}
