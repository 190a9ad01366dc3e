//! No operator panics, whatever it is given: every kernel is called with arguments that fit its schema by type only, and with any at all.

use std::sync::Arc;

use planish_ir::{ConvGeometry, DType, Op, PackedKind, PackedParams, QParams, Type};
use smallvec::SmallVec;

use super::{Kernel, TABLES};
use crate::call::{Call, Work};
use crate::limits::Gauge;
use crate::value::Dict;
use crate::{Contract, MemoryFormat, Tensor, Value};

const CALLS: usize = 400;

/// A fixed sequence of numbers that look random (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % count as u64) as usize
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    fn int(&mut self) -> i64 {
        let odd = [i64::MIN, i64::MAX, i64::MAX - 1, -7, 1 << 40, 13, 12, 14, 6];
        match self.below(4) {
            0 => self.pick(&odd),
            _ => self.below(6) as i64 - 1,
        }
    }

    fn ints(&mut self) -> Vec<i64> {
        (0..self.below(5)).map(|_| self.int()).collect()
    }

    fn float(&mut self) -> f64 {
        let odd = [
            0.0,
            -0.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1e300,
            1e-300,
        ];
        match self.below(3) {
            0 => self.pick(&odd),
            _ => self.below(9) as f64 / 4.0 - 1.0,
        }
    }

    fn tensor(&mut self) -> Tensor {
        use DType::{
            BFloat16, Bool, Byte, Char, ComplexFloat, Double, Float, Half, Int, Long, QInt8,
            QInt32, QUInt8, Short,
        };
        let dtype = match self.below(3) {
            0 => Float,
            1 => QUInt8,
            _ => self.pick(&[
                BFloat16,
                Bool,
                Byte,
                Char,
                ComplexFloat,
                Double,
                Half,
                Int,
                Long,
                QInt8,
                QInt32,
                Short,
            ]),
        };
        let shape: Vec<i64> = (0..self.below(6))
            .map(|_| self.pick(&[0, 1, 2, 2, 3, 4, 5]))
            .collect();
        let format = self.pick(&[MemoryFormat::Contiguous, MemoryFormat::ChannelsLast]);
        let tensor = Tensor::zeros(dtype, &shape, format).unwrap();
        let bytes = tensor.storage().len();
        let noise: Vec<u8> = (0..bytes).map(|_| self.below(256) as u8).collect();
        tensor.storage().write().unwrap().copy_from_slice(&noise);
        let tensor = if dtype.is_quantized() {
            let channels = shape.first().copied().unwrap_or(0) as usize;
            let qparams = match self.below(4) {
                0 if channels > 0 => QParams::PerChannel {
                    scales: (0..channels).map(|_| self.float()).collect(),
                    zero_points: vec![self.int(); channels].into(),
                    axis: 0,
                },
                1 => QParams::PerTensor {
                    scale: self.float(),
                    zero_point: self.int(),
                },
                _ => QParams::PerTensor {
                    scale: 0.5,
                    zero_point: 3,
                },
            };
            tensor.with_qparams(qparams).unwrap()
        } else {
            tensor
        };
        match (self.below(4), tensor.rank()) {
            (0, 2..) => tensor.transpose(0, 1).unwrap(),
            (1, 1..) if shape[0] > 1 => tensor.slice(0, 1, shape[0] - 1, 1).unwrap(),
            (2, 1..) if shape[0] == 1 && self.below(2) == 0 => {
                let mut wide = shape.clone();
                wide[0] = 3;
                tensor.expand(&wide).unwrap()
            }
            _ => tensor,
        }
    }

    fn packed(&mut self) -> Value {
        let spatial = self.below(4);
        let mut list = |low: i64, high: usize| -> SmallVec<[i64; 3]> {
            (0..spatial)
                .map(|_| low + self.below(high) as i64)
                .collect()
        };
        let geometry = ConvGeometry {
            stride: list(1, 3),
            padding: list(0, 3),
            dilation: list(1, 2),
            output_padding: list(0, 2),
            groups: 1,
            transposed: self.below(2) == 0,
        };
        let shape = vec![2; if spatial == 0 { 2 } else { spatial + 2 }];
        let count = shape.iter().product::<i64>() as usize;
        let weight = planish_ir::Tensor::new(DType::QInt8, &shape, vec![3u8; count]).unwrap();
        let qparams = QParams::PerTensor {
            scale: 0.5,
            zero_point: 0,
        };
        Value::Packed(Arc::new(PackedParams {
            kind: if spatial == 0 {
                PackedKind::Linear
            } else {
                PackedKind::Conv(geometry)
            },
            weight: weight.with_qparams(qparams).unwrap(),
            bias: (self.below(2) == 0)
                .then(|| planish_ir::Tensor::from_values(&[2], &[1f32, 2.0]).unwrap()),
        }))
    }

    fn any(&mut self) -> Value {
        match self.below(14) {
            0 => Value::None,
            1 => (self.below(2) == 0).into(),
            2 => self.int().into(),
            3 => self.float().into(),
            4 => {
                Value::str(self.pick(&["", "a", "none", "tanh", "floor", "same", "reflect", "{}"]))
            }
            5 => Value::ints(&self.ints()),
            6 => Value::list(
                Type::TENSOR,
                (0..self.below(4))
                    .map(|_| Value::Tensor(self.tensor()))
                    .collect::<Vec<_>>(),
            ),
            7 => Value::list(
                Type::Float,
                (0..self.below(4))
                    .map(|_| Value::Float(self.float()))
                    .collect::<Vec<_>>(),
            ),
            8 => Value::tuple([Value::Int(self.int()), Value::None]),
            9 => Value::Dict(Dict::new(Type::Str, Type::Int)),
            10 => self.packed(),
            11 => Value::Device("cpu".into()),
            _ => self.tensor().into(),
        }
    }

    fn of_type(&mut self, ty: &Type) -> Value {
        match ty {
            Type::Tensor(_) => self.tensor().into(),
            Type::Int => self.int().into(),
            Type::Float => self.float().into(),
            Type::Bool => (self.below(2) == 0).into(),
            Type::Scalar => match self.below(2) {
                0 => self.int().into(),
                _ => self.float().into(),
            },
            Type::Optional(_) if self.below(2) == 0 => Value::None,
            Type::Optional(inner) => self.of_type(inner),
            Type::List(element) => {
                let count = self.below(4);
                let items: Vec<Value> = (0..count).map(|_| self.of_type(element)).collect();
                Value::list((**element).clone(), items)
            }
            Type::Class(_) => self.packed(),
            _ => self.any(),
        }
    }
}

#[test]
fn no_operator_panics() {
    let gauge = Gauge::new(1 << 24);
    let _in_force = gauge.enter();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut faults = Vec::new();
    for (name, kernel) in TABLES.iter().copied().flatten() {
        let found = Op::of(name);
        let mut overloads = Op::overloads(found.name());
        if found.schema().is_some() || overloads.is_empty() {
            overloads = vec![found];
        }
        for round in 0..CALLS {
            let op = dice.pick(&overloads);
            let args: Vec<Value> = match op.schema() {
                Some(schema) if round % 4 != 0 => schema
                    .params
                    .iter()
                    .map(|param| dice.of_type(&param.ty))
                    .collect(),
                _ => (0..dice.below(8)).map(|_| dice.any()).collect(),
            };
            let call = Call {
                op,
                args: &args,
                contract: dice.pick(&Contract::ALL),
                work: &Work::new(1 << 20),
            };
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match kernel {
                Kernel::One(run) => run(&call).is_ok(),
                Kernel::Many(run) => run(&call).is_ok(),
            }));
            if ran.is_err() {
                let shown: Vec<String> = args.iter().map(ToString::to_string).collect();
                faults.push(format!("{op}({})", shown.join(", ")));
                break;
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
